"""Interpretations of networks: corrections that come back, programs that stand alone, code that misbehaves."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from coder_samples import mutants
from netweight.cli.app import run
from netweight.errors import BombError, FormatError, NotFoundError, VersionError
from netweight.weights.proof import corrections, message
from netweight.weights.proof.examples import EXAMPLES, example
from netweight.weights.proof.program import ProgramError, packed, read_programs, unpacked
from netweight.weights.proof.sandbox import Sandbox, _answers
from netweight.weights.proof.study import prove
from netweight.weights.proof.worker import INPUTS

GRID = """
import numpy as np

SECRET = 3

def inputs():
    return np.indices((6, 6)).reshape(2, -1).T

def network(state, inputs):
    return state["scores"].reshape(36, 4)

def task(inputs):
    return inputs.sum(1) % 4
"""


@pytest.fixture
def model(tmp_path):
    """A network that is right on 35 of the 36 inputs of GRID."""
    right = np.indices((6, 6)).sum(0).reshape(-1) % 4
    scores = 2.0 * np.eye(4, dtype=np.float32)[right]
    scores[35, 0] = 5
    path = tmp_path / "model.safetensors"
    save_file({"scores": scores.reshape(-1)}, path)
    return path


@pytest.fixture
def box(tmp_path):
    """A sandbox whose domain is GRID's."""
    np.save(tmp_path / INPUTS, np.indices((6, 6)).reshape(2, -1).T)
    return Sandbox(tmp_path, seconds=30)


def written(folder, programs, rest=GRID):
    path = folder / "grid.py"
    path.write_text(rest + programs)
    return path


# --- corrections ---


def drawn(count, classes, share, seed=0):
    """Guesses, and answers of which a share of about `share` differ."""
    rng = np.random.default_rng(seed)
    guesses = rng.integers(0, classes, count)
    answers = np.where(rng.random(count) < share, rng.integers(0, classes, count), guesses)
    return guesses, answers


@pytest.mark.parametrize("classes", [2, 3, 31, 4096])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 1])
@pytest.mark.parametrize("count", [1, 700])
def test_corrections_come_back(classes, share, count):
    guesses, answers = drawn(count, classes, share)
    data = corrections.encode(answers, guesses, classes)
    np.testing.assert_array_equal(corrections.decode(data, guesses, classes), answers)


def test_corrections_cost_what_they_should():
    """k of n places and k of 30 other answers: log2 C(n, k) + k log2 30, with a few bits for learning both."""
    guesses, answers = drawn(20_000, 31, 0.02)
    differing = int((guesses != answers).sum())
    share = differing / answers.size
    entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    theory = answers.size * entropy + differing * np.log2(30)
    assert theory - 8 < 8 * len(corrections.encode(answers, guesses, 31)) < theory + 150
    assert len(corrections.encode(guesses, guesses, 31)) <= 4


def test_a_regular_table_is_coded_as_such():
    """Nobody understands a table better for a weak rival: the plain code sees repeated rows."""
    answers = np.tile(np.arange(31), 300)
    assert len(corrections.encode(answers, np.zeros_like(answers), 31)) < 100


@pytest.mark.parametrize("answers", [drawn(300, 31, 0.05)[1], np.zeros(300, np.int64)])
def test_hostile_corrections_are_refused_or_are_answers(answers):
    guesses = drawn(300, 31, 0.05)[0]
    data = corrections.encode(answers, guesses, 31)
    for bad in mutants(data, "corrections", 300):
        try:
            found = corrections.decode(bad, guesses, 31)
        except FormatError:
            continue
        assert found.shape == (300,)
        assert 0 <= found.min() <= found.max() < 31


def test_an_altered_message_is_refused():
    guesses, answers = drawn(300, 31, 0.5)
    data = message.encode("return inputs", guesses, answers, 31)
    for bad in (*(data[:length] for length in range(len(data))), *mutants(data, "message", 300)):
        with pytest.raises(FormatError):
            message.decode(bad, lambda _: guesses, 31)
    with pytest.raises(VersionError, match="version 1"):
        message.decode(b"\x01" + data[1:], lambda _: guesses, 31)


def test_a_program_that_answers_otherwise_elsewhere_is_refused():
    guesses, answers = drawn(300, 31, 0.5)
    data, other = message.encode("return inputs", guesses, answers, 31), guesses.copy()
    k = int(np.flatnonzero(guesses == answers)[0])
    other[k] = (other[k] + 1) % 31
    with pytest.raises(FormatError):
        message.decode(data, lambda _: other, 31)


def test_a_claim_comes_back_and_is_refused_if_it_cannot_be():
    guesses, answers = drawn(300, 31, 0.5)
    for told in (0, 100, 300):
        claim = message.make_claim("return inputs", guesses, answers, 31, told)
        data = claim.to_bytes()
        assert message.Claim.from_bytes(data, 300) == claim
        with pytest.raises(FormatError):
            message.Claim.from_bytes(data, told + claim.differing - 1)
        for bad in (*(data[:length] for length in range(len(data))), *mutants(data, "claim", 100)):
            with pytest.raises(FormatError):
                message.Claim.from_bytes(bad, 300)


@pytest.mark.parametrize("seed", range(5))
def test_longer_claims_prove_more_and_never_too_much(seed):
    """The whole of the corrections proves the accuracy itself."""
    guesses, answers = drawn(300, 5, 0.3, seed)
    right = drawn(300, 5, 0.2, seed)[1]
    claims = [message.make_claim("return inputs", guesses, answers, 5, told) for told in (0, 100, 200, 300)]
    proved = [claim.right(guesses, right, 5) for claim in claims]
    assert proved == sorted(proved)
    assert proved[0] == max(0, int((guesses == right).sum()) - int((guesses != answers).sum()))
    assert proved[-1] == int((answers == right).sum())


# --- what is sent of a program ---


def test_only_the_body_is_sent(tmp_path):
    path = written(
        tmp_path, 'def program_odd(inputs: "Ints") -> "Ints":\n    """Why."""\n    # how\n    return inputs[:, 0] % 2\n'
    )
    assert read_programs(path) == {"program_odd": "return inputs[:, 0] % 2"}
    assert unpacked(packed("return 'ü'")) == "return 'ü'"


def test_a_program_that_is_a_bomb_is_refused():
    import brotli

    with pytest.raises(BombError):
        unpacked(brotli.compress(b" " * (1 << 25)))
    with pytest.raises(FormatError):
        unpacked(brotli.compress(b"\xff"))


def test_what_lies_outside_of_a_program_is_not_free(tmp_path, box):
    """A constant of the file would be bits that nobody counts."""
    path = written(tmp_path, "def program(inputs):\n    return inputs.sum(1) % (SECRET + 1)\n")
    with pytest.raises(ProgramError, match="SECRET") as raised:
        box.run("program", read_programs(path)["program"], 36, 4)
    assert "return inputs.sum(1) % (SECRET + 1)" in raised.value.details


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("def f(:", "isn't Python"),
        ("x = 1", "no function inputs, network, program"),
        (GRID, "no function program"),
        (GRID + "def program(x): return x", "of one argument, inputs"),
        (GRID + "def program(inputs, n=5): return n", "of one argument, inputs"),
    ],
)
def test_a_file_that_lacks_something_is_refused(tmp_path, source, match):
    path = written(tmp_path, "", source)
    with pytest.raises(ProgramError, match=match):
        read_programs(path)


# --- a whole proof ---


def test_the_bound_is_true_and_tight_for_the_right_program(tmp_path, model):
    """35 of 36 answers are right; the law differs once, a program that is right on half proves less, a table is dearer."""
    laws = "def program_law(inputs):\n    return inputs.sum(1) % 4\ndef program_even(inputs):\n    return inputs.sum(1) % 2\n"
    found = prove(written(tmp_path, laws), model)
    law, even = (next(level for level in found.levels if level.name == name) for name in ("law", "even"))
    assert found.accuracy == 35 / 36
    assert (law.agreement, law.program_accuracy, law.bound) == (35 / 36, 1, 35 / 36)
    assert even.program_accuracy == pytest.approx(0.5, abs=0.1)
    assert even.bound == pytest.approx(max(0, even.program_accuracy - (1 - even.agreement)))
    assert even.bound <= found.accuracy
    assert found.best is law
    assert law.correction_bytes < even.correction_bytes
    assert found.margin == 2
    assert found.count == 36


def test_a_program_that_changes_its_mind_is_refused(tmp_path, model):
    fickle = "def program(inputs):\n    return np.random.default_rng().integers(0, 4, 36)\n"
    with pytest.raises(ProgramError, match="answers differently"):
        prove(written(tmp_path, fickle), model)


def test_a_program_that_does_not_end_is_ended_with_all_that_it_started(box, tmp_path):
    text = (
        "import subprocess\nopen('pid', 'w').write(str(subprocess.Popen(['sleep', '99']).pid))\nwhile True:\n    pass"
    )
    started = time.monotonic()
    with pytest.raises(ProgramError, match="program: didn't end within 3 s"):
        Sandbox(box.folder, seconds=3).run("program", text, 36, 4)
    assert time.monotonic() - started < 30
    assert not running(int((tmp_path / "pid").read_text()))


def running(process):
    """Whether a process lives; one that ended may wait for its parent as a zombie."""
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("raise SystemExit(0)", "raised SystemExit"),
        ("import os; os._exit(0)", "nothing that can be read"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("return inputs[:, 0]", "36 answers in 0..3"),
        ("return inputs[:5, 0]", "36 answers in 0..3"),
        ("return inputs[:, 0] / 7", "whole numbers"),
        ("return np.array([print] * 36)", "raised ValueError"),
    ],
)
def test_a_program_that_misbehaves_is_named(box, text, match):
    with pytest.raises(ProgramError, match=f"program: .*{match}"):
        box.run("program", text, 36, 4)


@pytest.mark.parametrize(
    ("outputs", "match"),
    [
        (np.zeros((4, 36)), r"scores \[36, classes\] or answers \[36\]"),
        (np.zeros((36, 1)), r"scores \[36, classes\]"),
        (np.full((36, 4), np.inf), "NaN or infinity"),
        (np.zeros(36), "whole numbers"),
        (np.full(36, -1), "0 .. 2"),
    ],
)
def test_outputs_that_are_no_answers_are_named(outputs, match):
    with pytest.raises(ProgramError, match=f"network: .*{match}"):
        _answers(outputs, 36, "network")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('state["scores"]', 'state["missing"]', "KeyError: 'missing'"),
        ("reshape(2, -1).T", "reshape(36, 2, 1)", "inputs must be"),
    ],
)
def test_a_file_that_gives_nonsense_is_named(tmp_path, model, old, new, match):
    source = GRID.replace(old, new).replace("sum(1)", "reshape(36, 2).sum(1)")
    with pytest.raises(ProgramError, match=match):
        prove(written(tmp_path, "def program(inputs):\n    return inputs[:, 0] * 0\n", source), model)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_explained(name):
    found = prove(*example(name))
    assert example(name)[1].stat().st_size < 30_000
    assert found.accuracy is not None
    assert 0.98 < found.accuracy < 1
    assert len(found.levels) >= 5
    assert found.score(found.best) > 0.5
    assert 20 * found.best.file_bytes < found.weight_bytes
    assert all(level.bound is not None and level.bound <= found.accuracy for level in found.levels)
    assert max(level.bound for level in found.levels if level.bound is not None) == pytest.approx(found.accuracy)
    with pytest.raises(NotFoundError):
        example("another")


def test_the_verb(tmp_path, model, capsys):
    path, png = written(tmp_path, "def program(inputs):\n    return inputs.sum(1) % 4\n"), tmp_path / "plot.png"
    with pytest.raises(SystemExit) as ended:
        run(["prove", str(path), str(model), "--json", "--png", str(png)])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert told["best"] == "program"
    assert png.read_bytes().startswith(b"\x89PNG")


def test_the_verb_shows_the_traceback(tmp_path, model, capsys):
    path = written(tmp_path, "def program(inputs):\n    return 1 // 0\n")
    with pytest.raises(SystemExit) as ended:
        run(["prove", str(path), str(model)])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" in said
    assert (
        said.splitlines()[-1]
        == "netweight: error: program: raised ZeroDivisionError: integer division or modulo by zero"
    )
    with pytest.raises(SystemExit) as ended:
        run(["prove", str(path)])
    assert ended.value.code == 2
