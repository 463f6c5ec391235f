"""`netweight ncd`."""

from __future__ import annotations

from typing import Any

import click

from . import console, options, texts


@click.command()
@click.argument("paths", metavar="FILES...", nargs=-1, required=True, type=click.Path())
@texts.code
@click.option(
    "--method", type=click.Choice(("ncd", "cdm", "conditional")), default="ncd", show_default=True,
    help="The distance: NCD, C(xy) / (C(x) + C(y)), or C(y | x) / C(y) with y in rows.",
)  # fmt: skip
@click.option(
    "--order", type=click.Choice(("both", "query-first", "reference-first")), default="both", show_default=True,
    help="Which text of a pair comes first: the row's, the column's, or the mean of both.",
)  # fmt: skip
@texts.running
@click.option("--png", type=click.Path(dir_okay=False), metavar="PLOT", help="Write the tree of the texts as an image.")
@options.force
@options.json
def command(
    paths: tuple[str, ...], code: str, method: str, order: str, separator: str, threads: int | None, cluster: str | None,
    png: str | None, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure the distances between FILES (texts; a folder stands for its files) by how well they compress together."""
    from ..report import files
    from ..report import ncd as report
    from ..text.cluster import workers
    from ..text.ncd.codes import lengths_of
    from ..text.ncd.matrix import matrix_of
    from ..text.ncd.texts import read_texts

    names, contents = read_texts(paths)
    lengths = lengths_of(code, texts.separator_of(separator), threads)
    wanted = files.promised([(png, report.dendrogram)], force, draws=True)
    settings: dict[str, Any] = {"method": method, "order": order}
    with console.ProgressShow() as show, workers(cluster, threads) as mapped:
        matrix = matrix_of(lengths, contents, names, workers=mapped, progress=show.labelled(code), **settings)
    wanted.write(matrix)
    if as_json:
        console.emit_json(matrix.to_dict())
    else:
        console.result(report.matrix_text(matrix, console.width()))
