"""`netweight explain`."""

from __future__ import annotations

import click

from . import console, options


@click.command()
@click.argument("path", metavar="FILE", type=click.Path())
@click.option(
    "--rel-mse", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="E",
    help="How much each tensor may err, ||w - q||^2 / ||w||^2 (default: 1e-4).",
)  # fmt: skip
@click.option("--lossless", is_flag=True, help="Look for structure that saves bits losslessly.")
@click.option("--html", type=click.Path(dir_okay=False), metavar="PAGE", help="Write a self-contained page.")
@options.force
@options.json
def command(path: str, rel_mse: float | None, lossless: bool, html: str | None, force: bool, as_json: bool) -> None:
    """Tell which structure each tensor of FILE has, and what it saves in bits at that tolerance.

    Constants, dead units, duplicates, rotations, blocks, diagonals, Kronecker products, butterflies, spectra, Gabor filters,
    dictionaries, low rank, and tensors that are others. A structure pays for its parameters and for what it leaves
    unsaid; both codes of each tensor are decoded again.
    """
    from ..report import files
    from ..report import structure as report
    from ..weights.structure.explain import explain

    if lossless and rel_mse is not None:
        raise click.UsageError("--lossless and --rel-mse exclude each other")
    wanted = files.promised([(html, report.page)], force, draws=False)
    error = None if lossless else 1e-4 if rel_mse is None else rel_mse
    with console.ProgressShow() as show:
        explanation = explain(path, error, progress=show.labelled("looking for structure"))
    wanted.write(explanation)
    console.notes(explanation.problems)
    if as_json:
        console.emit_json(explanation.to_dict())
    else:
        console.result(report.structure_text(explanation, console.width()))
