"""`netweight comm bench`."""

from __future__ import annotations

import click

from . import console, options


@click.command("bench")
@click.option(
    "--world", type=click.IntRange(min=2), default=4, show_default=True, help="Ranks: processes of this machine."
)
@click.option("--data", type=click.Path(), metavar="FILE", help="A .npz like MNIST's (default: scikit-learn's digits).")
@click.option(
    "--test", type=click.IntRange(min=1), metavar="N", help="Of a FILE with x and y alone, hold out the last N (default: one in 20)."
)  # fmt: skip
@click.option(
    "--method", "methods", multiple=True, metavar="NAME", help="Measure NAME alone (repeatable; default: all)."
)
@click.option("--steps", type=click.IntRange(min=4), default=600, show_default=True, help="Steps of SGD.")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Examples a rank and step.")
@click.option("--rate", type=float, default=0.1, show_default=True, help="Learning rate at the start.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Initial weights and draws.")
@click.option(
    "--bandwidth", metavar="RATE", help="Model a network of RATE (100Mbit, 1Gbit): nothing of that is measured."
)
@options.json
def command(
    world: int,
    data: str | None,
    test: int | None,
    methods: tuple[str, ...],
    steps: int,
    batch: int,
    rate: float,
    seeds: int,
    bandwidth: str | None,
    as_json: bool,
) -> None:
    """Train one network under compressed gradients, on real processes over gloo: bytes, accuracy, milliseconds.

    Starts its own processes, or is one of them under torchrun.
    """
    from ..comm.bench.launch import ranks, run
    from ..comm.bench.methods import METHODS
    from ..comm.bench.worker import Plan
    from ..report import comm_bench as report

    modelled = None if bandwidth is None else report.bits_per_second(bandwidth)
    plan = Plan(methods or tuple(METHODS), data, test, steps, batch, rate, seeds=tuple(range(seeds)))
    world = ranks(world)
    with console.ProgressShow() as show:
        rows = run(plan, world, show.step)
    if rows is None:
        return
    if as_json:
        console.emit_json(report.bench_json(rows, plan, world, modelled))
    else:
        console.result(report.bench_text(rows, plan, world, modelled, console.width()))
