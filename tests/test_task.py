"""Tasks: files that score a state dict, what is said when they fail, and what a drop means."""

import sys
import textwrap

import numpy as np
import pytest

from netweight.errors import InputError, NetweightError
from netweight.weights.lossy.task import MaxDrop, TaskError, load_task

STATE = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}


@pytest.fixture
def task_file(tmp_path):
    """A function that writes a task and names it."""
    modules, path = set(sys.modules), list(sys.path)

    def write(source: str, name: str = "task.py") -> str:
        place = tmp_path / name
        place.write_text(textwrap.dedent(source))
        return str(place)

    yield write
    sys.path[:] = path
    for added in set(sys.modules) - modules:
        if added.startswith(("netweight_task_", "beside", "importable")):
            del sys.modules[added]


def test_a_file_scores_arrays(task_file):
    task = load_task(task_file("def score(state): return float(state['w'].sum()) + state['b'].size"))
    assert task.score(STATE) == 17.0
    assert task.framework == "numpy"


def test_a_file_may_ask_for_tensors(task_file):
    torch = pytest.importorskip("torch")
    task = load_task(
        task_file(
            """
            import torch
            framework = "torch"
            def score(state):
                assert state["b"].dtype == torch.float16 and state["half"].dtype == torch.bfloat16
                return state["w"].sum() + state["half"].float().sum()
            """
        )
    )
    import ml_dtypes

    assert task.score({**STATE, "half": np.full(2, 0.5, ml_dtypes.bfloat16)}) == 16.0
    assert torch.is_tensor(torch.zeros(1))


def test_other_functions_and_modules(task_file, monkeypatch, tmp_path):
    place = task_file("def score(state): return 1\ndef other(state): return 2", "importable.py")
    monkeypatch.chdir(tmp_path)
    assert load_task(place).score({}) == 1
    assert load_task(f"{place}:other").score({}) == 2
    assert load_task("importable:other").score({}) == 2
    assert load_task("importable:score").digest == load_task(place).digest


def test_a_task_imports_what_lies_beside_it_and_prints_to_standard_error(task_file, capsys):
    task_file("VALUE = 0.25", "beside.py")
    task = load_task(task_file("def score(state):\n    import beside\n    print('hello')\n    return beside.VALUE"))
    assert task.score({}) == 0.25
    assert capsys.readouterr() == ("", "hello\n")


def test_the_digest_follows_the_file(task_file):
    one = load_task(task_file("def score(state): return 1")).digest
    assert load_task(task_file("def score(state): return 1")).digest == one
    assert load_task(task_file("def score(state): return 2")).digest != one


@pytest.mark.parametrize(
    ("returned", "number"),
    [("1", 1), ("0.5", 0.5), ("np.float32(0.5)", 0.5), ("np.array([0.5])", 0.5), ("np.int64(-3)", -3)],
)
def test_numbers_of_any_kind(task_file, returned, number):
    score = load_task(task_file(f"import numpy as np\ndef score(state): return {returned}")).score({})
    assert (type(score), score) == (float, number)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("None", "returned NoneType None, not a number"),
        ("'0.8'", "returned str '0.8', not a number"),
        ("True", "returned bool True, not a number"),
        ("np.ones(3)", "not a number"),
        ("1j", "not a number"),
        ("float('nan')", "returned nan; it must be finite"),
        ("np.float32('inf')", "returned inf; it must be finite"),
    ],
)
def test_what_is_no_score(task_file, returned, said):
    task = load_task(task_file(f"import numpy as np\ndef score(state): return {returned}"))
    with pytest.raises(TaskError, match="task") as caught:
        task.score({})
    assert said in str(caught.value)


def test_a_failing_score_shows_the_whole_traceback_of_the_users_code_alone(task_file):
    place = task_file("def inner(state):\n    return state['absent']\n\ndef score(state):\n    return inner(state)\n")
    with pytest.raises(TaskError) as caught:
        load_task(place).score(STATE)
    assert str(caught.value) == f"{place}: score failed: KeyError: 'absent'"
    details = caught.value.details.splitlines()
    assert details[0].startswith("Traceback")
    assert [d.strip() for d in details if "File" in d] == [
        f'File "{place}", line 5, in score',
        f'File "{place}", line 2, in inner',
    ]
    assert details[-1] == "KeyError: 'absent'"
    assert isinstance(caught.value, NetweightError)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def score(state: return 1", "importing it failed: SyntaxError"),
        ("import no_such_module_at_all", "importing it failed: ModuleNotFoundError"),
        ("raise SystemExit('set DATA')", "importing it failed: SystemExit: set DATA"),
        ("x = 1", "has no function score"),
        ("score = 0.5", "has no function score"),
        ("framework = 'jax'\ndef score(state): return 1", "framework is str 'jax'"),
        ("framework = []\ndef score(state): return 1", "framework is list"),
    ],
)
def test_what_is_no_task(task_file, source, said):
    with pytest.raises(TaskError) as caught:
        load_task(task_file(source))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/no/such/task.py", "there is no such file"),
        ("/no/such/task.py:score", "there is no such file"),
        ("task", "name a Python file"),
        ("no_such_module_at_all:score", "ModuleNotFoundError"),
        ("json:score", "has no function score"),
        (":score", "importing it failed"),
        ("", "name a Python file"),
    ],
)
def test_names_that_lead_nowhere(name, said, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError) as caught:
        load_task(name)
    assert said in str(caught.value)


def test_interrupts_pass_through(task_file):
    with pytest.raises(KeyboardInterrupt):
        load_task(task_file("def score(state): raise KeyboardInterrupt")).score({})


@pytest.mark.parametrize(
    ("text", "before", "allowed"),
    [
        ("0.5%", 0.826, 0.82187),
        (" 0.5 %", 82.6, 82.187),
        ("0.005", 0.826, 0.821),
        ("0.5", 82.6, 82.1),
        ("10%", -20.0, -22.0),
        ("1e-3", 0.5, 0.499),
        ("0", 0.7, 0.7),
        ("0%", 0.0, 0.0),
    ],
)
def test_what_a_drop_allows(text, before, allowed):
    floor = MaxDrop.parse(text).floor(before)
    assert floor <= allowed
    assert floor == pytest.approx(allowed, rel=1e-11)


def test_rounding_doesnt_forbid_what_the_user_allowed():
    """0.8256 - 0.005 is 0.8206 to a user, 0.8206000000000001 or so to a computer."""
    tenths = np.arange(1, 10_000)
    assert all(MaxDrop.parse("0.005").floor(k / 10_000) <= (k - 50) / 10_000 for k in tenths)


@pytest.mark.parametrize("text", ["", "%", "-1%", "-0.1", "nan", "inf%", "1%%", "half", "0,5%"])
def test_what_is_no_drop(text):
    with pytest.raises(InputError, match="a drop of"):
        MaxDrop.parse(text)


def test_a_share_of_nothing_is_no_budget():
    with pytest.raises(InputError, match="without %"):
        MaxDrop.parse("1%").floor(0.0)
    assert MaxDrop.parse("1").floor(0.0) == pytest.approx(-1)
