"""`netweight labels`."""

from __future__ import annotations

import click

from . import console, options


@click.command()
@click.argument("path", metavar="[FILE]", type=click.Path(), required=False)
@click.option(
    "--code",
    "codes",
    multiple=True,
    metavar="ID",
    help="prequential, variational or two-part (repeatable; default: all).",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N labels.")
@options.json
def command(path: str | None, codes: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """Weigh what a network knows: the length of the labels of FILE given its pictures, in files that are decoded again.

    FILE is an .npz with pictures x (uint8, n x height x width) and labels y (n); without one, the digits that ship with
    netweight are weighed. Each file is decoded by another process from the pictures alone. 60,000 pictures of 28 x 28
    take minutes.
    """
    from ..report import labels as report

    with console.ProgressShow() as show:
        if path is None:
            study = report.demo_labels(codes, show.step)
        else:
            from ..weights.labels.data import read_labelled
            from ..weights.labels.study import weigh_labels

            pictures, labels = read_labelled(path, limit)
            study = weigh_labels(pictures, labels, name=path, codes=codes, progress=show.step)
    if as_json:
        console.emit_json(study.to_dict())
    else:
        console.result(report.labels_text(study, console.width()))
