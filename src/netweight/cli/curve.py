"""`netweight curve`: rate against distortion."""

from __future__ import annotations

import click

from . import console, options


@click.command()
@click.argument("path", metavar="FILE", type=click.Path())
@click.option(
    "--rel-mse", "errors", multiple=True, type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="E",
    help="An error to measure at (repeatable; default: -6, -12, -18, -24 and -30 dB).",
)  # fmt: skip
@click.option(
    "--codec", "codecs", multiple=True, metavar="ID",
    help="Only these codes, as `netweight weigh --rel-mse` calls them (repeatable; default: trellis, uniform, kmeans, rtn, "
    "and every lossy codec of an installed plug-in that is named).",
)  # fmt: skip
@click.option(
    "--limit-seconds", type=click.FloatRange(min=0, min_open=True), metavar="S", help="End a row that takes longer."
)
@click.option("--html", type=click.Path(dir_okay=False), metavar="PAGE", help="Write a self-contained page.")
@click.option("--png", type=click.Path(dir_okay=False), metavar="PLOT", help="Write the plot as an image.")
@options.force
@options.json
def command(
    path: str, errors: tuple[float, ...], codecs: tuple[str, ...], limit_seconds: float | None,
    html: str | None, png: str | None, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure how few bits FILE's float matrices take at several errors, under our codes and others, with Shannon's bound."""
    from ..report import curve as report
    from ..report import files
    from ..weights.lossy.curve import ERRORS, rungs_of_curve, trace

    rungs = rungs_of_curve(codecs)
    wanted = files.promised([(html, report.page), (png, report.plot)], force, draws=True)
    with console.ProgressShow() as show:
        curve = trace(path, errors or ERRORS, rungs=rungs, limit_seconds=limit_seconds, progress=show.step)
    wanted.write(curve)
    if as_json:
        console.emit_json(curve.to_dict())
    else:
        console.result(report.curve_text(curve, console.width()))
