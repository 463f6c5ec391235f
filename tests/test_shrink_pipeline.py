"""The whole way: targets, orders, interruptions, and the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from netweight.cli import shrink as verb
from netweight.errors import InputError
from netweight.report import shrink as report
from netweight.shrink import (
    Context,
    Distil,
    EarlyExit,
    LowRank,
    Network,
    Prune,
    Quantize,
    Result,
    TrainingError,
    load,
    shrink,
)
from netweight.shrink.order import by_law
from netweight.shrink.order.measure import compared, holm, sorted_by
from netweight.shrink.order.statistics import paired_p, quantile, t_interval, two_sided
from netweight.shrink.saving import same
from shrink_nets import Task, called


@pytest.fixture(scope="module")
def task() -> Task:
    return Task()


@pytest.fixture(scope="module")
def learned(task: Task) -> nn.Module:
    return task.trained()


def shrunk(task: Task, network: nn.Module, steps: list, **more) -> Result:
    settings = {
        "train": task.train,
        "evaluate": task.evaluate,
        "budget": 60,
        "effort": "balanced",
        "learning_rate": 3e-3,
    }
    return shrink(network, task.x[0][:4], steps, **(settings | more))


@pytest.fixture(scope="module")
def result(task: Task, learned: nn.Module) -> Result:
    return shrunk(task, learned, [Prune(batches=4, rounds=2), Quantize(w=4, a=8)], target={"macs": 0.5}, compare=True)


def test_costs_are_within_the_target_and_the_report_is_of_the_file(task: Task, result: Result, tmp_path: Path) -> None:
    start, end = result.report.start, result.report.end
    assert 0.35 * start.costs.macs < end.costs.macs <= 0.5 * start.costs.macs
    receipt = result.save(tmp_path / "small.nw")
    assert abs(receipt.archive_bytes - end.costs.bytes) < 200  # the report's effort was another
    back = load(tmp_path / "small.nw")
    assert task.evaluate(back) == end.score == task.evaluate(result.model)
    assert receipt.archive_bytes * 5 < result.report.original_bytes
    assert [s.letter for s in result.report.runs[0].stages] == ["", "P", "Q", ""]


def test_the_model_that_was_given_is_as_it_was(task: Task, learned: nn.Module, result: Result) -> None:
    fresh = task.trained()
    assert all(
        torch.equal(a, b) for a, b in zip(learned.state_dict().values(), fresh.state_dict().values(), strict=True)
    )
    assert not learned.training


def test_targets_that_cannot_be_met_name_the_nearest(task: Task, learned: nn.Module) -> None:
    with pytest.raises(InputError, match=r"can't be met.*macs.*the nearest"):
        shrunk(task, learned, [Prune(batches=2, rounds=1, most=0.5)], target={"macs": 0.01}, budget=0)
    with pytest.raises(InputError, match=r"isn't met: score .* instead of at least"):
        shrunk(task, learned, [Prune(keep=0.1, rounds=1, batches=2)], target={"drop": 0.0}, budget=0)
    for wrong in ({"speed": 2}, {"macs": 0}, {"macs": "much"}):
        with pytest.raises(InputError, match="target"):
            shrunk(task, learned, [Prune()], target=wrong, budget=0)
    with pytest.raises(InputError, match="parentheses"):
        shrunk(task, learned, [Prune])
    with pytest.raises(InputError, match="no order"):
        shrunk(task, learned, [Prune()], order="best")


def test_a_drop_is_searched_by_whole_runs_and_the_front_is_kept(task: Task, learned: nn.Module) -> None:
    found = shrunk(task, learned, [Prune(batches=2, rounds=1)], target={"drop": 0.05}, tries=3, budget=15).report
    assert len(found.runs) == 3
    assert found.end.score >= found.start.score - 0.05
    assert set(found.front) <= {0, 1, 2}
    kept = [r for r in found.runs if r.end.score >= found.start.score - 0.05]
    assert found.end.costs.bytes == min(r.end.costs.bytes for r in kept)


class InterruptedRunError(Exception):
    pass


def test_an_interrupted_run_goes_on_to_the_same_result(
    task: Task, learned: nn.Module, tmp_path: Path, monkeypatch
) -> None:
    from netweight.shrink import training

    monkeypatch.setattr(training, "SEGMENT", 10)
    steps = [Prune(keep=0.6, batches=2, rounds=2), Quantize(w=4, a=8)]
    whole = shrunk(task, learned, steps, journal=tmp_path / "a")
    for stop in (33, 52):
        taken = [0]

        def train(model: nn.Module, seed: int, taken: list[int] = taken, stop: int = stop) -> Iterator[torch.Tensor]:
            for loss in task.train(model, seed):
                taken[0] += model.training
                if taken[0] > stop:
                    raise InterruptedRunError
                yield loss

        train.__qualname__ = task.train.__qualname__
        with pytest.raises(InterruptedRunError):
            shrunk(task, learned, steps, journal=tmp_path / "b", train=train)
        calls = [0]

        def counted(model: nn.Module, seed: int, calls: list[int] = calls) -> Iterator[torch.Tensor]:
            for loss in task.train(model, seed):
                calls[0] += model.training
                yield loss

        counted.__qualname__ = task.train.__qualname__
        again = shrunk(task, learned, steps, journal=tmp_path / "b", train=counted)
        assert same(again.model, whole.model)
        assert calls[0] <= 60 - stop // 10 * 10 + 10
        for file in (tmp_path / "b").iterdir():
            file.unlink()


def test_a_step_whose_training_breaks_is_rolled_back_and_named(task: Task, learned: nn.Module) -> None:
    def train(model: nn.Module, seed: int) -> Iterator[torch.Tensor]:
        quantised = any(getattr(m, "grid", None) is not None for m in model.modules())
        for number, loss in enumerate(task.train(model, seed)):
            yield loss * float("nan") if quantised and model.training and number > 2 else loss

    found = shrunk(task, learned, [Prune(keep=0.6, batches=2, rounds=1), Quantize(w=4, a=8)], train=train)
    prune, quantise = found.report.runs[0].stages[1:3]
    assert "isn't finite" in quantise.problem
    assert quantise.costs == prune.costs
    assert found.report.end.score > 0.8


def test_if_every_step_is_rolled_back_it_is_an_error(task: Task, learned: nn.Module) -> None:
    def train(model: nn.Module, seed: int) -> Iterator[torch.Tensor]:
        for loss in task.train(model, seed):
            yield loss * float("nan") if model.training else loss

    with pytest.raises(TrainingError, match=r"nothing was shrunk: every step was rolled back.*isn't finite"):
        shrunk(task, learned, [Prune(keep=0.6, batches=2, rounds=1), Quantize(w=4, a=8)], train=train)


@dataclass(frozen=True)
class Greedy:
    """Prunes less than was counted as soon as it may train."""

    keep: float = 1.0
    letter: str = "P"
    share: float = 1.0

    def at(self, strength: float) -> Greedy:
        return Greedy(1 - strength)

    def apply(self, network: Network, context: Context) -> Network:
        keep = self.keep if context.dry else self.keep + 0.05
        return Prune(keep=keep, criterion="magnitude").apply(network, context)


@pytest.mark.parametrize("more", [{}, {"drop": 1.0}])
def test_a_run_that_costs_more_than_was_counted_is_followed_by_a_stronger_one(
    task: Task, learned: nn.Module, more: dict
) -> None:
    found = shrunk(task, learned, [Greedy()], target={"macs": 0.5} | more, budget=0).report
    limit = 0.5 * found.start.costs.macs
    assert len(found.runs) > 1
    assert found.runs[0].end.costs.macs > limit >= found.end.costs.macs
    assert found.taken == len(found.runs) - 1
    with pytest.raises(InputError, match=r"isn't met: macs .* \(the only run\)"):
        shrunk(task, learned, [Greedy()], target={"macs": 0.5} | more, budget=0, tries=1)


def test_functions_that_give_nothing_usable_are_told_of(task: Task, learned: nn.Module) -> None:
    with pytest.raises(InputError, match=r"evaluate\(model\) gave None"):
        shrunk(task, learned, [Prune(keep=0.5)], evaluate=lambda _: None)
    with pytest.raises(InputError, match=r"train\(model, seed\) gave 3"):
        shrunk(task, learned, [Prune(keep=0.5)], train=lambda *_: 3)


def test_laws_and_measurements_sort_steps() -> None:
    steps = [EarlyExit(), Quantize(), LowRank(), Prune(), Distil()]
    assert "".join(s.letter for s in by_law(steps)) == "DPLQE"
    assert "".join(s.letter for s in by_law(steps, "QPDE")) == "QPDEL"
    sure = compared("P", "Q", [0.5, 0.51, 0.52, 0.5], [0.9, 0.91, 0.93, 0.9])
    tie = compared("P", "D", [0.5, 0.6, 0.7, 0.5], [0.6, 0.5, 0.5, 0.7])
    pairs = holm([sure, tie])
    assert [p.decided for p in pairs] == [True, False]
    assert "".join(s.letter for s in sorted_by([Distil(), Prune(), Quantize()], pairs)) == "DQP"
    ring = [compared(a, b, [0.9, 0.9, 0.91], [0.5, 0.5, 0.5]) for a, b in ("PQ", "QD", "DP")]
    assert len(sorted_by([Distil(), Prune(), Quantize()], holm(ring))) == 3


def test_the_t_test_is_students() -> None:
    assert two_sided(2.776445, 4) == pytest.approx(0.05, abs=1e-6)
    assert two_sided(12.7062, 1) == pytest.approx(0.05, abs=1e-6)
    assert quantile(0.01, 9) == pytest.approx(3.249836, abs=1e-5)
    differences = np.array([1.0, 2.0, 3.0, 4.0])
    assert paired_p(differences) == pytest.approx(0.030466, abs=1e-5)
    low, high = t_interval(differences)
    assert (low, high) == pytest.approx((0.445737, 4.554263), abs=1e-5)
    assert (paired_p(np.zeros(3)), paired_p(np.ones(3))) == (1.0, 0.0)


def test_an_order_is_measured_at_equal_training_over_seeds(task: Task, learned: nn.Module) -> None:
    found = shrunk(
        task, learned, [Quantize(w=2, a=4, rate=0.0), Prune(keep=0.6, batches=2, rounds=1)], order="measure", budget=20,
    ).report  # fmt: skip
    (pair,) = found.pairs
    assert {pair.first, pair.second} == {"P", "Q"}
    assert len(pair.forth) == len(pair.back) == 3
    assert pair.low <= pair.gain <= pair.high
    assert set(found.sequence) == {"P", "Q"}
    assert "a tie" in report.shrink_text(found, 160) or "first" in report.shrink_text(found, 160)


JOB = """
import sys
sys.path.insert(0, {tests!r})
from shrink_nets import Task
from netweight.shrink import Prune, Quantize
task = Task()
print("loading")
model = lambda: task.trained(40)
example = task.x[0][:4]
steps = [Prune(batches=2, rounds=1), Quantize(w=4, a=8)]
train, evaluate, budget = task.train, task.evaluate, 20
"""


def test_the_command_line_writes_a_file_a_page_and_json(tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(JOB.format(tests=str(Path(__file__).parent)))
    page = tmp_path / "page.html"
    done = CliRunner().invoke(verb.command, [str(job), "--target", "macs=0.5", "--html", str(page), "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["file_bytes"] == (tmp_path / "job.nw").stat().st_size
    assert facts["runs"][0]["stages"][-1]["costs"]["macs"] <= 0.5 * facts["runs"][0]["stages"][0]["costs"]["macs"]
    assert called(load(tmp_path / "job.nw"), torch.zeros(3, 1, 8, 8)).shape == (3, 4)
    assert page.read_text().count("<svg") == 1
    assert not (tmp_path / "job.nw.journal").exists()
    again = CliRunner().invoke(verb.command, [str(job)])
    assert again.exit_code != 0
    assert "exists already" in str(again.exception)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = []", "defines no model, example"),
        ("1 / 0", "importing it failed: ZeroDivisionError"),
        ("model = 3; example = None; steps = []", "model is an int; it must be a module or make one"),
        ("model = example = None; steps = []; budget = 'many'", "budget is a str; it must be a whole number"),
        ("model = example = None; steps = []; budget = -1", "budget is -1"),
        ("model = example = None; steps = []; train = 3", "train is an int; it must be a function"),
        ("import sys; sys.exit(1)", "importing it failed: SystemExit"),
    ],
)
def test_jobs_that_cannot_be_used_are_told_of(tmp_path: Path, text: str, message: str) -> None:
    job = tmp_path / "job.py"
    job.write_text(text)
    done = CliRunner().invoke(verb.command, [str(job)])
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert not (tmp_path / "job.nw").exists()


@pytest.mark.parametrize("target", ["macs=half", "speed=2", "macs", "drop=x"])
def test_targets_are_read_before_the_job_runs(tmp_path: Path, target: str) -> None:
    job = tmp_path / "job.py"
    job.write_text("raise RuntimeError")
    done = CliRunner().invoke(verb.command, [str(job), "--target", target])
    assert done.exit_code == 2
    assert "--target" in done.output
