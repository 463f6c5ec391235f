"""`netweight weigh`: the ladder."""

from __future__ import annotations

import click

from . import console, options


@click.command()
@click.argument("path", metavar="FILE", type=click.Path())
@click.option(
    "--effort", "efforts", type=click.Choice(options.EFFORTS), multiple=True,
    help="Of netweight's own efforts only these (repeatable; default: all).",
)  # fmt: skip
@click.option(
    "--codec", "codecs", multiple=True, metavar="ID",
    help="Of the other codes only these: raw, zip, gzip, bzip2, xz, zstd, brotli, png (repeatable; default: all).",
)  # fmt: skip
@options.threads
@click.option(
    "--limit-seconds", type=click.FloatRange(min=0, min_open=True), metavar="S",
    help="End a row that takes longer than this each way.",
)  # fmt: skip
@click.option("--html", type=click.Path(dir_okay=False), metavar="PAGE", help="Write a self-contained page.")
@click.option("--png", type=click.Path(dir_okay=False), metavar="PLOT", help="Write the plots as an image.")
@options.force
@options.json
def command(
    path: str,
    efforts: tuple[str, ...],
    codecs: tuple[str, ...],
    threads: int | None,
    limit_seconds: float | None,
    html: str | None,
    png: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Weigh FILE (a checkpoint, a folder, an index of shards, or - for standard input) under every code we have.

    Every row is encoded, decoded and compared byte for byte. The order-0 bound is printed beside them: it has no bytes.
    """
    from ..report import files, texts
    from ..weights.ladder import chosen_codes, weigh_file

    codes = chosen_codes(codecs, efforts)
    with files.planned(html=html, png=png, force=force) as reports, console.ProgressShow() as show:
        weighing = weigh_file(path, codes=codes, threads=threads, limit_seconds=limit_seconds, progress=show.step)
        reports.write(weighing)
    console.notes(weighing.problems)
    if as_json:
        console.emit_json(weighing.to_dict())
    else:
        console.result(texts.ladder_text(weighing, console.width()))
