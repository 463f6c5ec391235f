"""`netweight weigh`: the ladders, lossless and (with --rel-mse) lossy."""

from __future__ import annotations

from math import isnan

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
    help="Of the other codes only these: raw, zip, gzip, bzip2, xz, zstd, brotli, png (repeatable; default: all). With "
    "--rel-mse the lossy codes: uniform, rtn, kmeans, 'kmeans png', ...",
)  # fmt: skip
@click.option(
    "--rel-mse", type=click.FloatRange(0, 1, min_open=True), metavar="X",
    help="Weigh the float matrices under every lossy code at this relative squared error (0.01 is -20 dB).",
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
    rel_mse: float | None,
    threads: int | None,
    limit_seconds: float | None,
    html: str | None,
    png: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Weigh FILE (a checkpoint, a folder, an index of shards, or - for standard input) under every code we have.

    Every row is encoded, decoded and compared: byte for byte, or with --rel-mse the error is measured. Bounds are
    printed beside them: they have no bytes.
    """
    if rel_mse is not None:
        given = {"--effort": efforts, "--threads": threads, "--html": html, "--png": png}
        if isnan(rel_mse):
            raise click.BadParameter("an error must be a number", param_hint="--rel-mse")
        if wrong := [name for name, value in given.items() if value]:
            raise click.UsageError(f"{', '.join(wrong)}: only without --rel-mse")
        _lossy(path, rel_mse, codecs, limit_seconds, as_json)
        return
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


def _lossy(path: str, rel_mse: float, codecs: tuple[str, ...], limit_seconds: float | None, as_json: bool) -> None:
    from ..report.lossy import lossy_text
    from ..weights.lossy.ladder import chosen_rungs, weigh_lossy

    rungs = chosen_rungs(codecs)
    with console.ProgressShow() as show:
        weighing = weigh_lossy(path, rel_mse, rungs=rungs, limit_seconds=limit_seconds, progress=show.step)
    console.notes(weighing.problems)
    if as_json:
        console.emit_json(weighing.to_dict())
    else:
        console.result(lossy_text(weighing, console.width()))
