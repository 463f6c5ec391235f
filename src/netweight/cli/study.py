"""`netweight study`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import console, options, texts

if TYPE_CHECKING:
    from ..text.ncd.study import DataSet, Plan

_CODES = ("gzip", "bz2", "xz", "zstd", "brotli", "ppmd")


@click.command()
@click.option(
    "--data", "data", multiple=True, required=True, metavar="NAME=TRAIN[,TEST]",
    help="Labelled texts, lines of label<TAB>text; without TEST documents are drawn from TRAIN (repeatable).",
)  # fmt: skip
@click.option(
    "--code", "codes", multiple=True, default=_CODES, show_default=True, metavar="CODE", help="A code (repeatable)."
)
@click.option(
    "--method", "methods", multiple=True, default=("ncd",), show_default=True,
    type=click.Choice(("ncd", "cdm", "conditional", "per-class")), help="How to decide (repeatable).",
)  # fmt: skip
@click.option(
    "--order", type=click.Choice(("query-first", "reference-first", "both")), default="query-first", show_default=True,
    help="Which of document and text comes first in a pair; a model is quickest with reference-first.",
)  # fmt: skip
@click.option("-k", "k", type=click.IntRange(min=1), default=1, show_default=True, help="Nearest neighbours.")
@click.option(
    "--shots", "shots", multiple=True, type=click.IntRange(min=0), default=(5,), show_default=True,
    help="Texts of each label to learn from, 0 for all (repeatable).",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Draws of shots and documents.")
@click.option(
    "--documents", type=click.IntRange(min=0), default=100, show_default=True, help="Documents a seed, 0 for all."
)
@click.option(
    "--journal", "journal_path", type=click.Path(dir_okay=False), metavar="FILE",
    help="Remember results in FILE and go on from there.",
)  # fmt: skip
@texts.running
@click.option("--png", type=click.Path(dir_okay=False), metavar="PLOT", help="Plot accuracy against bits a byte.")
@options.force
@options.json
def command(as_json: bool, png: str | None, force: bool, **given: Any) -> None:
    """Does compression rate predict accuracy? Codes x data sets x shots x seeds, with rank correlations."""
    from ..report import files
    from ..report import ncd as report
    from ..text.cluster import workers
    from ..text.ncd.journal import Journal
    from ..text.ncd.study import correlations, rows, run

    plan = _plan(given)
    wanted = files.promised([(png, report.study_plot)], force, draws=True)
    with console.ProgressShow() as show, workers(given["cluster"], given["threads"]) as mapped:
        cells = run(plan, Journal(given["journal_path"]), mapped, show.step)
    table, found = rows(cells), correlations(cells)
    wanted.write(table)
    if as_json:
        console.emit_json({"rows": [asdict(row) for row in table], "correlations": [asdict(c) for c in found]})
    else:
        console.result(report.study_text(table, found, console.width()))


def _plan(given: dict[str, Any]) -> Plan:
    from ..text.ncd.decide import Rule
    from ..text.ncd.study import Plan

    return Plan(
        [_dataset(text) for text in given["data"]], given["codes"],
        [Rule(method, given["order"], 1 if method == "per-class" else given["k"]) for method in given["methods"]],
        given["shots"], range(given["seeds"]), given["documents"], texts.separator_of(given["separator"]),
        given["threads"],
    )  # fmt: skip


def _dataset(text: str) -> DataSet:
    from ..text.ncd.data import read_labelled
    from ..text.ncd.study import DataSet

    name, equals, paths = text.partition("=")
    if not equals:
        name, paths = Path(text.partition(",")[0]).stem, text
    train, _, test = paths.partition(",")
    return DataSet(name, read_labelled(train), read_labelled(test) if test else None)
