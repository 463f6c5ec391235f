"""`netweight classify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import console, options, texts

if TYPE_CHECKING:
    from ..text.ncd.evaluation import Evaluation


@click.command()
@click.option(
    "--train",
    "train_path",
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="Labelled texts: lines of label<TAB>text.",
)
@click.option(
    "--test", "test_path", type=click.Path(), metavar="FILE",
    help="Documents with their true labels (default: what --shots leaves of FILE).",
)  # fmt: skip
@click.option(
    "--code", "codes", multiple=True, default=("gzip",), show_default=True, metavar="CODE",
    help="gzip, zlib, deflate, bz2, xz, zstd, brotli, ppmd (each with :LEVEL), netweight, smollm2, a .gguf file (repeatable).",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(("ncd", "cdm", "conditional", "per-class")), default="ncd", show_default=True,
    help="A distance to single texts, or C(document | all texts of a class).",
)  # fmt: skip
@click.option(
    "--order", type=click.Choice(("query-first", "reference-first", "both")), default="query-first", show_default=True,
    help="Which of document and text comes first in a pair; a model is quickest with reference-first.",
)  # fmt: skip
@click.option("-k", "k", type=click.IntRange(min=1), default=1, show_default=True, help="Nearest neighbours.")
@click.option("--shots", type=click.IntRange(min=1), metavar="N", help="Learn from N texts of each label only.")
@click.option("--documents", type=click.IntRange(min=1), metavar="N", help="Label N documents only.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws shots and documents.")
@click.option(
    "--candidates",
    type=click.IntRange(min=1),
    metavar="N",
    help="Compare with the N texts that --preselect finds nearest.",
)
@click.option("--preselect", default="tf-idf", show_default=True, metavar="HOW", help="tf-idf, or a code's NCD.")
@click.option("--drop-duplicates", is_flag=True, help="Leave out texts that a document nearly repeats.")
@click.option("--baselines", is_flag=True, help="Also by tf-idf's nearest neighbour and by the commonest label.")
@texts.running
@options.json
def command(as_json: bool, **given: Any) -> None:
    """Label documents by the labelled texts that they compress best with, and say how often that is right."""
    from ..report import ncd as report

    with console.ProgressShow() as show:
        evaluation = _evaluated(show, given)
    if as_json:
        console.emit_json(evaluation.to_dict())
    else:
        console.result(report.evaluation_text(evaluation, console.width()))


def _evaluated(show: console.ProgressShow, given: dict[str, Any]) -> Evaluation:
    from ..text.cluster import workers
    from ..text.ncd.codes import lengths_of
    from ..text.ncd.data import read_labelled, split
    from ..text.ncd.decide import Rule
    from ..text.ncd.evaluation import evaluate

    rule = Rule(given["method"], given["order"], given["k"], given["candidates"] or 0, given["preselect"])
    separator = texts.separator_of(given["separator"])
    codes = [lengths_of(code, separator, given["threads"]) for code in given["codes"]]
    test = read_labelled(given["test_path"]) if given["test_path"] else None
    drawn = split(read_labelled(given["train_path"]), test, given["shots"] or 0, given["documents"] or 0, given["seed"])
    with workers(given["cluster"], given["threads"]) as mapped:
        return evaluate(
            codes, rule, *drawn, drop_duplicates=given["drop_duplicates"], with_baselines=given["baselines"],
            workers=mapped, progress=show.step,
        )  # fmt: skip
