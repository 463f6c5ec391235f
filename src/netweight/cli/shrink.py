"""`netweight shrink`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from . import console, options

if TYPE_CHECKING:
    from ..shrink.result import Result


@click.command()
@click.argument("job", metavar="JOB.PY", type=click.Path())
@options.output("Where the shrunk network goes (default: beside JOB.PY, with the suffix .nw).")
@click.option(
    "--target", "targets", multiple=True, metavar="COST=LIMIT",
    help="macs, params, bitops or bytes and the most of it (0.3: that share of the start's), or drop and the most that the "
    "score may lose (0.01, or 1% of it). Repeatable; instead of JOB.PY's.",
)  # fmt: skip
@click.option(
    "--order", type=click.Choice(("given", "law", "measure")), help="Which step comes first (default: given)."
)
@click.option("--budget", type=click.IntRange(min=0), metavar="N", help="Training steps of the whole sequence.")
@click.option("--seed", type=int, metavar="N", help="Of all that is drawn.")
@click.option(
    "--seeds", type=click.IntRange(min=3), default=3, show_default=True, help="Of each pair for --order measure."
)
@click.option(
    "--tries", type=click.IntRange(min=1), default=6, show_default=True, help="Whole runs for a target, at most."
)
@click.option("--compare", is_flag=True, help="Measure too what coding alone comes to at the same score.")
@click.option(
    "--journal", type=click.Path(file_okay=False), metavar="FOLDER",
    help="Where an interrupted run goes on from (default: OUT.journal, removed at the end).",
)  # fmt: skip
@click.option("--html", type=click.Path(dir_okay=False), metavar="PAGE", help="Write the report as one page.")
@click.option("--png", type=click.Path(dir_okay=False), metavar="PLOT", help="Write the plot as an image.")
@options.force
@options.json
def command(
    job: str, output: str | None, targets: tuple[str, ...], html: str | None, png: str | None, journal: str | None,
    force: bool, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Make the network of JOB.PY smaller: prune, factor, quantise, distil, exit early, within a target.

    JOB.PY defines model, example and steps, train(model, seed) that yields losses, and evaluate(model) that gives a score. It is
    your own code and runs with all your rights. A run that is interrupted goes on when it is started again.
    """
    from ..weights.as_torch import library

    library()
    wanted_costs = _targets(targets)
    from ..report import files
    from ..report import shrink as report
    from ..shrink.job import JobError, load_job
    from ..weights.archive.outputs import refuse_existing

    out = Path(output) if output is not None else Path(job).with_suffix(".nw")
    refuse_existing(out, force)
    wanted = files.promised([(html, report.page), (png, report.plot)], force, draws=True)
    try:
        loaded = load_job(job)
        settings = loaded.settings | {k: v for k, v in given.items() if v is not None}
        if wanted_costs:
            settings["target"] = wanted_costs
        folder = Path(journal) if journal is not None else out.with_name(f"{out.name}.journal")
        result = _shrunk(loaded.name, settings, folder / loaded.digest[:16])
    except JobError as error:
        if error.details:
            click.echo(error.details, err=True)
        raise InputError(str(error)) from None
    receipt = result.save(out, force=force)
    wanted.write(result.report)
    if journal is None:
        shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        console.emit_json(result.report.to_dict() | {"file": str(out), "file_bytes": receipt.archive_bytes})
    else:
        console.result(report.shrink_text(result.report, console.width()))
        console.result(f"{out}: {receipt.archive_bytes} bytes, decoded again and the same")


def _shrunk(name: str, settings: dict[str, Any], folder: Path) -> Result:
    from ..shrink import shrink
    from ..shrink.job import guarded

    with console.ProgressShow() as show, guarded(name, "the job"):
        model, example, steps = (settings.pop(k) for k in ("model", "example", "steps"))
        return shrink(model, example, steps, journal=folder, progress=show.step, say=console.note, **settings)


def _targets(texts: tuple[str, ...]) -> dict[str, str]:
    """What --target says, checked before anything runs. Raises UsageError."""
    from ..shrink.targets import numbers_of

    found = dict(map(_target, texts))
    try:
        numbers_of(found)
    except InputError as error:
        raise click.UsageError(f"--target: {error}") from None
    return found


def _target(text: str) -> tuple[str, str]:
    kind, equals, limit = text.partition("=")
    if not equals or not limit:
        raise click.UsageError(f"--target {text}: write it as macs=0.3 or drop=1%")
    return kind.strip(), limit.strip()
