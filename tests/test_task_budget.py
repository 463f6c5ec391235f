"""A checkpoint under a budget of its score: the demo network, a toy coder, everything really written and decoded."""

import json
import zlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from netweight.data import demo_accuracy, demo_network
from netweight.errors import GuaranteeError, OutputError
from netweight.weights.lossy.budget import TaskReceipt, compress_for_task, journal_path, state_digest
from netweight.weights.lossy.search import Knob
from netweight.weights.lossy.task import MaxDrop, Task, TaskError

KNOB = Knob(-4.0, 0.0, -2.0, 0.5)
BEFORE = demo_accuracy(load_file(demo_network()))


class ToyCoder:
    """Matrices in steps of 10^(t/2) deviations as zlib'd int16, the rest as it is: a whole `Write`, counted."""

    def __init__(self):
        self.calls, self.notes = [], None

    def __call__(self, t, path, notes):
        self.calls.append(t)
        self.notes = notes
        tensors, arrays = [], []
        for name, w in load_file(demo_network()).items():
            step = 0.0 if t is None or w.ndim < 2 else float(w.std() * 10 ** (t / 2) * 12**0.5)
            arrays.append((np.rint(w / step).astype("<i2") if step else w).tobytes())
            tensors.append((name, w.shape, step))
        header = json.dumps([tensors, notes]).encode()
        path.write_bytes(len(header).to_bytes(4, "little") + header + zlib.compress(b"".join(arrays), 1))
        return self.decode(path)

    @staticmethod
    def decode(path):
        blob = path.read_bytes()
        size = 4 + int.from_bytes(blob[:4], "little")
        data, at, state = zlib.decompress(blob[size:]), 0, {}
        for name, shape, step in json.loads(blob[4:size])[0]:
            flat = np.frombuffer(data, "<i2" if step else "<f4", int(np.prod(shape)), at)
            at += flat.nbytes
            state[name] = ((flat * np.float32(step)) if step else flat).astype(np.float32).reshape(shape)
        return state


def demo_task(function=demo_accuracy) -> Task:
    return Task("demo.py", "0" * 64, "numpy", function)


def compress(dst, drop="1%", *, coder=None, task=None, key=None, **more) -> TaskReceipt:
    return compress_for_task(
        dst,
        task or demo_task(),
        MaxDrop.parse(drop),
        original=lambda: load_file(demo_network()),
        write=coder or ToyCoder(),
        key=key or {"input": "demo"},
        knob=KNOB,
        **more,
    )


def test_the_file_that_is_kept_scores_what_the_receipt_says(tmp_path):
    dst, coder = tmp_path / "x.nw", ToyCoder()
    receipt = compress(dst, coder=coder)
    assert receipt.score_before == BEFORE
    assert receipt.score_after == demo_accuracy(coder.decode(dst)) >= 0.99 * BEFORE
    assert receipt.score_allowed == pytest.approx(0.99 * BEFORE)
    assert receipt.bytes == dst.stat().st_size < receipt.lossless_bytes / 4
    assert receipt.summary().startswith(f"score {BEFORE:.6g} -> {receipt.score_after:.6g} (allowed: at least ")
    assert list(tmp_path.iterdir()) == [dst]


def test_the_archive_holds_the_scores_but_no_folder_names(tmp_path):
    coder = ToyCoder()
    task = Task("/home/someone/secret/demo.py", "ab" * 32, "numpy", demo_accuracy)
    receipt = compress(tmp_path / "x.nw", coder=coder, task=task)
    assert coder.notes == {
        "task": "demo.py",
        "task_sha256": "ab" * 32,
        "max_drop": "1%",
        "score_before": receipt.score_before,
        "score_after": receipt.score_after,
        "score_allowed": receipt.score_allowed,
    }
    assert json.loads(json.dumps(receipt.to_dict()))["evaluations"][0]["t"] == KNOB.start


def test_a_larger_drop_is_a_smaller_file(tmp_path):
    sizes = [compress(tmp_path / f"{k}.nw", drop).bytes for k, drop in enumerate(["0", "1%", "5%", "30%"])]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4


def test_an_impossible_budget_is_kept_losslessly_and_said(tmp_path):
    said, dst, coder = [], tmp_path / "x.nw", ToyCoder()
    whole = load_file(demo_network())

    def picky(state):
        return 1.0 if all(np.array_equal(state[n], whole[n]) for n in whole) else 0.9

    receipt = compress(dst, "1%", coder=coder, task=demo_task(picky), say=said.append)
    assert receipt.t is None
    assert (receipt.score_before, receipt.score_after) == (1.0, 1.0)
    assert receipt.bytes == dst.stat().st_size
    assert state_digest(coder.decode(dst)) == state_digest(whole)
    assert "the nearest has 0.9 in" in said[0]
    assert "stored losslessly" in said[0]


def test_lossless_wins_where_lossy_is_no_smaller(tmp_path):
    class Padded(ToyCoder):
        def __call__(self, t, path, notes):
            state = super().__call__(t, path, notes)
            if t is not None:
                with path.open("ab") as file:
                    file.write(bytes(10**6))
            return state

    said = []
    receipt = compress(tmp_path / "x.nw", coder=Padded(), say=said.append)
    assert receipt.t is None
    assert "no smaller than lossless" in said[0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_after_an_interruption_the_same_run_goes_on(tmp_path, error):
    dst, said, scored = tmp_path / "x.nw", [], []

    def stops(state):
        scored.append(1)
        if len(scored) == 5:
            raise error
        return demo_accuracy(state)

    def run(function, **more):
        return compress(dst, task=demo_task(function), say=said.append, **more)

    task = demo_task(stops)
    with pytest.raises((TaskError, KeyboardInterrupt)):
        run(task.function)
    assert list(tmp_path.iterdir()) == [journal_path(dst)]
    assert said == [f"3 evaluations are kept in {journal_path(dst)}: the same command goes on there"]
    scored.clear()

    def counts(state):
        scored.append(1)
        return demo_accuracy(state)

    receipt = run(counts)
    assert said[1] == "resuming after 3 evaluations"
    assert receipt.resumed == 3
    assert len(scored) == 1 + len(receipt.evaluations) - 3
    fresh = compress(tmp_path / "fresh.nw")
    assert receipt.evaluations == fresh.evaluations
    assert dst.read_bytes() == (tmp_path / "fresh.nw").read_bytes()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "fresh.nw", dst]


@pytest.mark.parametrize("change", ["key", "task", "score"])
def test_what_was_measured_of_something_else_is_measured_again(tmp_path, change):
    dst, said, left = tmp_path / "x.nw", [], [4]

    def stops(state):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return demo_accuracy(state)

    with pytest.raises(KeyboardInterrupt):
        compress(dst, task=demo_task(stops))
    task = demo_task((lambda state: demo_accuracy(state) / 2) if change == "score" else demo_accuracy)
    task = Task(task.name, "1" * 64, "numpy", task.function) if change == "task" else task
    key = {"input": "another"} if change == "key" else None
    assert compress(dst, task=task, key=key, say=said.append).resumed == 0
    assert said == []


def test_another_budget_uses_what_was_measured(tmp_path):
    dst, left = tmp_path / "x.nw", [4]

    def stops(state):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return demo_accuracy(state)

    with pytest.raises(KeyboardInterrupt):
        compress(dst, "1%", task=demo_task(stops))
    receipt = compress(dst, "30%")
    assert receipt.resumed >= 1
    assert receipt.score_after >= 0.7 * BEFORE


def test_a_coder_that_gives_other_weights_the_second_time_is_found_out(tmp_path):
    class Fickle(ToyCoder):
        def __call__(self, t, path, notes):
            state = super().__call__(t, path, notes)
            if t is not None and notes:
                state["fc1.weight"] = state["fc1.weight"] + 1
            return state

    with pytest.raises(GuaranteeError, match="other weights"):
        compress(tmp_path / "x.nw", coder=Fickle())
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_alters_its_arrays_does_no_harm(tmp_path):
    def destructive(state):
        value = demo_accuracy(state)
        for array in state.values():
            array[...] = 0
        return value

    receipt = compress(tmp_path / "x.nw", task=demo_task(destructive))
    assert receipt.score_after == demo_accuracy(ToyCoder.decode(tmp_path / "x.nw"))


def test_existing_output_is_kept_before_any_work_is_done(tmp_path):
    dst, coder = tmp_path / "x.nw", ToyCoder()
    dst.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        compress(dst, coder=coder)
    assert dst.read_bytes() == b"mine"
    assert coder.calls == []
    assert compress(dst, force=True).bytes == dst.stat().st_size
