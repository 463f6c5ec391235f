"""`netweight weigh`: the ladders, lossless and (with --rel-mse) lossy."""

from __future__ import annotations

from math import isnan

import click

from . import console, options, routes, text_files


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
@click.option(
    "--bpp", type=click.FloatRange(min=0, min_open=True), metavar="B",
    help="Weigh a picture at B bits a pixel, as networks and under JPEG, JPEG 2000, WebP and AVIF; with --codec only some: "
    "'netweight siren', coin, jpeg, ...",
)  # fmt: skip
@text_files.model
@options.threads
@click.option(
    "--limit-seconds", type=click.FloatRange(min=0, min_open=True), metavar="S",
    help="End a row that takes longer than this each way.",
)  # fmt: skip
@click.option(
    "--symmetries", type=click.Path(), metavar="ARCH",
    help="Weigh what the symmetries save that ARCH declares (.json, see docs/symmetries.md) or whose graph it holds (.onnx).",
)  # fmt: skip
@click.option(
    "--task", metavar="TASK", help="With --symmetries: score the decoded network too (task.py, task.py:function)."
)
@click.option("--html", type=click.Path(dir_okay=False), metavar="PAGE", help="Write a self-contained page.")
@click.option("--png", type=click.Path(dir_okay=False), metavar="PLOT", help="Write the plots as an image.")
@options.force
@options.json
def command(
    path: str,
    efforts: tuple[str, ...],
    codecs: tuple[str, ...],
    rel_mse: float | None,
    bpp: float | None,
    model: str | None,
    threads: int | None,
    limit_seconds: float | None,
    symmetries: str | None,
    task: str | None,
    html: str | None,
    png: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Weigh FILE (a checkpoint, a folder, an index of shards, or - for standard input) under every code we have.

    Every row is encoded, decoded and compared: byte for byte, or with --rel-mse the error is measured. Bounds are
    printed beside them: they have no bytes. A text is weighed under general codes, rank codes and a language model. With
    --bpp a picture is, lossily, and what its files decode to is shown side by side by --html.
    """
    if bpp is not None:
        others = {"--rel-mse": rel_mse, "--model": model, "--threads": threads, "--limit-seconds": limit_seconds,
                  "--symmetries": symmetries, "--task": task, "--png": png}  # fmt: skip
        text_files.refuse(others, "not with --bpp, which is for pictures")
        _picture(path, bpp, codecs, efforts, html, force, as_json)
        return
    if rel_mse is None and routes.is_plain_text(path):
        only_checkpoints = {"--codec": codecs, "--limit-seconds": limit_seconds, "--html": html, "--png": png}
        text_files.refuse(only_checkpoints, f"only for checkpoints, and {path} is a text")
        _text(path, efforts, model, threads, as_json)
        return
    text_files.refuse({"--model": model}, f"only for a text, which {path} isn't")
    if symmetries is not None:
        alone = {"--effort": efforts, "--codec": codecs, "--rel-mse": rel_mse, "--html": html, "--png": png}
        if wrong := [name for name, value in alone.items() if value]:
            raise click.UsageError(f"{', '.join(wrong)}: only without --symmetries")
        _symmetries(path, symmetries, task, as_json)
        return
    if task is not None:
        raise click.UsageError("--task: only with --symmetries")
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


def _picture(
    path: str,
    bpp: float,
    codecs: tuple[str, ...],
    efforts: tuple[str, ...],
    html: str | None,
    force: bool,
    as_json: bool,
) -> None:
    if len(efforts) > 1:
        raise click.UsageError("--effort: one for a picture")
    from ..image.ladder import chosen_codes, weigh_picture
    from ..image.pictures import read
    from ..report import files, images

    codes, picture = chosen_codes(codecs), read(path)
    reports = files.promised([(html, images.page)], force, draws=False)
    note = (
        ""
        if picture.alpha is None
        else "Alpha was left out: netweight keeps it losslessly, and not every rival has it."
    )
    with console.ProgressShow() as show:
        weighing = weigh_picture(
            picture.pixels,
            path,
            bpp,
            codes=codes,
            effort=efforts[0] if efforts else "balanced",
            progress=show.step,
            note=note,
        )
    reports.write(weighing)
    if as_json:
        console.emit_json(weighing.to_dict())
    else:
        console.result(images.ladder_text(weighing, console.width()))


def _text(path: str, efforts: tuple[str, ...], model: str | None, threads: int | None, as_json: bool) -> None:
    from ..report.text_lines import ladder_text

    if len(efforts) > 1:
        raise click.UsageError("--effort: one for a text")
    weighing = text_files.weigh(path, model, efforts[0] if efforts else "balanced", threads)
    if as_json:
        console.emit_json(weighing.to_dict())
    else:
        console.result(ladder_text(weighing, console.width()))


def _symmetries(path: str, architecture: str, task: str | None, as_json: bool) -> None:
    from ..report.symmetry import symmetry_text
    from ..weights.lossy.task import load_task
    from ..weights.symmetry.weigh import weigh_symmetries

    scored = None if task is None else load_task(task)
    with console.ProgressShow() as show:
        found = weigh_symmetries(path, architecture, task=scored, progress=show.step)
    if as_json:
        console.emit_json(found.to_dict())
    else:
        console.result(symmetry_text(found, console.width()))
