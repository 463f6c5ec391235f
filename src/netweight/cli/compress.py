"""`netweight compress`: losslessly, at a stated error, or for a task."""

from __future__ import annotations

from typing import Any

import click

from ..errors import InputError
from . import console, image_files, options, routes, text_files


@click.command()
@click.argument("path", metavar="PATH", type=click.Path())
@options.output("Where to write (default: PATH.nw; - is standard output, lossless only).")
@click.option(
    "--effort", type=click.Choice(options.EFFORTS), default="balanced", show_default=True, help="How hard to try."
)
@options.base
@options.lossy
@click.option("--task", metavar="TASK", help="Quantise for a task: task.py with score(state_dict), or module:function.")
@click.option(
    "--max-drop", metavar="DROP",
    help="With --task: how far its score may drop: 0.5% (of the original score) or 0.005 (in its own units).",
)  # fmt: skip
@text_files.model
@text_files.cluster
@click.option(
    "--each", is_flag=True,
    help="A folder: each of its files by itself, in a folder of .nw files (default: PATH.nw); texts under the model.",
)  # fmt: skip
@click.option(
    "--structure", is_flag=True,
    help="Look for structure in every tensor (see explain) and code it where that is shorter: losslessly, or with "
    "--rel-mse or --max-error.",
)  # fmt: skip
@click.option(
    "--symmetries", type=click.Path(), metavar="ARCH",
    help="Leave out the order of the units that ARCH (.json, see docs/symmetries.md, or .onnx) declares: decompress gives a network "
    "that computes the same, its units in another order. Losslessly, or with --rel-mse.",
)  # fmt: skip
@image_files.wanted
@options.threads
@options.force
@options.json
def command(
    path: str, output: str | None, effort: str, base: str | None, task: str | None, max_drop: str | None, structure: bool,
    symmetries: str | None, model: str | None, cluster: str | None, each: bool, threads: int | None, force: bool,
    as_json: bool, **lossy: Any,
) -> None:  # fmt: skip
    """Compress PATH: a file, a folder, a *.safetensors.index.json with its shards, or - for standard input.

    Losslessly, byte for byte, unless one of --bits, --rel-mse, --max-error, --size or --task says how much may change.
    Then float matrices are quantised, `decompress` gives a safetensors file with the changed weights in their dtypes,
    and the archive tells the error of each. The input is never changed.

    With --bpp, --psnr or --quality PATH is a picture whose pixels are coded as small networks (Ctrl-C keeps the best so far).

    What is text, and no checkpoint, is coded under a language model; a few bytes of no known kind get as small a file.
    """
    picture = image_files.goal_of(lossy)
    wanted = options.lossy_of(lossy)
    if picture:
        others = {
            "--base": base,
            "--task": task,
            "--structure": structure,
            "--symmetries": symmetries,
            "--model": model,
            "--cluster": cluster,
            "--each": each,
        }
        text_files.refuse(others, "not with --bpp, --psnr and --quality, which are for pictures")
        _picture(path, output, picture, wanted, effort, force, as_json)
        return
    common: dict[str, Any] = {"effort": effort, "threads": threads, "force": force}
    if symmetries is not None:
        others = {"--base": base, "--task": task, "--max-drop": max_drop, "--structure": structure, "--model": model}
        text_files.refuse(others | {"--cluster": cluster, "--each": each}, "not with --symmetries")
        _symmetric(path, output, symmetries, wanted, common, as_json)
        return
    if task is None and max_drop is None and wanted.target is None:
        wanted.refuse_alone()
        if each:
            text_files.refuse({"--base": base, "--structure": structure}, "not with --each")
            _each(path, output, model, common | {"cluster": cluster}, as_json)
            return
        if base is None and not structure and routes.is_loose_data(path):
            _text(path, output, model, common | {"cluster": cluster}, as_json)
            return
        text_files.refuse({"--model": model, "--cluster": cluster}, f"only for a text, which {path} isn't")
        _lossless(path, output, base, common | {"structure": structure}, as_json)
        return
    text_files.refuse({"--model": model, "--cluster": cluster, "--each": each}, "only for lossless compression")
    if path == "-" or output == "-":
        raise click.UsageError("lossy compression reads and writes files: name them instead of -")
    if base is not None:
        raise click.UsageError("--base is for lossless compression: differences to a base aren't quantised")
    if task is None and max_drop is None:
        _lossy(path, output, wanted, common | {"structure": structure}, as_json)
        return
    if structure:
        raise click.UsageError("--structure is for lossless compression, --rel-mse and --max-error, not for --task")
    if task is None or max_drop is None:
        raise click.UsageError("--task and --max-drop belong together")
    if wanted.target is not None:
        raise click.UsageError("--task seeks the error itself: leave --bits, --rel-mse, --max-error and --size out")
    _for_task(path, output, task, max_drop, wanted, common, as_json)


def _picture(
    path: str,
    output: str | None,
    goal: dict[str, Any],
    wanted: options.Lossy,
    effort: str,
    force: bool,
    as_json: bool,
) -> None:
    from ..report import image_lines

    if wanted.target is not None or wanted.given:
        raise click.UsageError("--bpp, --psnr and --quality are for pictures, the other targets for checkpoints")
    receipt = image_files.compress(path, output, goal, effort, force)
    if problem := image_files.missed(receipt, goal):
        console.notes([problem])
    if as_json:
        console.emit_json(receipt)
    else:
        console.result(image_lines.compressed(receipt))


def _lossless(path: str, output: str | None, base: str | None, common: dict[str, Any], as_json: bool) -> None:
    from ..report import lines
    from ..weights.archive import compress_file

    if path == "-" and output is None:
        output = "-"
    console.spare_terminal(output)
    with console.ProgressShow() as show:
        receipt = compress_file(path, output, base=base, progress=show.labelled("compressing"), **common)
    console.notes(receipt.problems)
    to_stderr = receipt.archive == "-"
    if as_json:
        console.emit_json(receipt.to_dict(), to_stderr=to_stderr)
    else:
        console.result(lines.compressed(receipt), to_stderr=to_stderr)


def _text(path: str, output: str | None, model: str | None, common: dict[str, Any], as_json: bool) -> None:
    from ..report import text_lines

    text_files.spare_terminal(output)
    receipt = text_files.compress(path, output, model, **common)
    to_stderr = receipt["compressed"] == "-"
    if as_json:
        console.emit_json(receipt, to_stderr=to_stderr)
    else:
        console.result(text_lines.compressed(receipt), to_stderr=to_stderr)


def _each(path: str, output: str | None, model: str | None, common: dict[str, Any], as_json: bool) -> None:
    from ..report import text_lines
    from . import text_folders

    if path == "-" or output == "-":
        raise click.UsageError("--each reads a folder and writes one: name them instead of -")
    receipt = text_folders.compress(path, output, model, **common)
    if as_json:
        console.emit_json(receipt)
    else:
        console.result(text_lines.compressed_folder(receipt))


def _symmetric(
    path: str, output: str | None, architecture: str, wanted: options.Lossy, common: dict[str, Any], as_json: bool
) -> None:
    from ..report import lines
    from ..weights.lossy.target import REL_MSE
    from ..weights.symmetry.compress import compress_symmetric

    if path == "-" or output == "-":
        raise click.UsageError("--symmetries reads and writes files: name them instead of -")
    if wanted.target is not None and wanted.target.kind != REL_MSE:
        raise click.UsageError("--symmetries goes with --rel-mse, or losslessly")
    if wrong := [flag for flag in wanted.given if wanted.target is None or flag not in ("--keep", "--least")]:
        raise click.UsageError(f"{', '.join(wrong)}: not with --symmetries" + ("" if wanted.target else " alone"))
    with console.ProgressShow() as show:
        receipt = compress_symmetric(
            path, output, architecture, rel_mse=wanted.target.limit if wanted.target else None,
            touched=wanted.keywords["touched"], progress=show.step, **common,
        )  # fmt: skip
    console.notes([*receipt.problems, *(f"{units}: {why}" for units, why in receipt.left)])
    if as_json:
        console.emit_json(receipt.to_dict())
    else:
        console.result(lines.symmetric(receipt))


def _lossy(path: str, output: str | None, wanted: options.Lossy, common: dict[str, Any], as_json: bool) -> None:
    from ..report import lines
    from ..weights.lossy.compress import compress_lossy, target_notes

    assert wanted.target is not None
    with console.ProgressShow() as show:
        receipt = compress_lossy(
            path, output, wanted.target, notes=target_notes(wanted.target), progress=show.labelled("quantising"),
            **wanted.keywords, **common,
        )  # fmt: skip
    console.notes(receipt.problems)
    if as_json:
        console.emit_json(receipt.to_dict())
    else:
        console.result(lines.quantised(receipt))


def _for_task(
    path: str,
    output: str | None,
    task: str,
    max_drop: str,
    wanted: options.Lossy,
    common: dict[str, Any],
    as_json: bool,
) -> None:
    from ..report import lines
    from ..weights.lossy.task import TaskError
    from ..weights.lossy.tasked import compress_to_task

    try:
        receipt = compress_to_task(
            path, output, task, max_drop, say=console.note, **wanted.keywords, **common,
            progress=lambda k, most, e: console.note(lines.evaluation(k, most, e)),
        )  # fmt: skip
    except TaskError as error:
        if error.details:
            click.echo(error.details, err=True)
        raise InputError(str(error)) from None
    if as_json:
        console.emit_json(receipt.to_dict())
    else:
        console.result(lines.for_task(path, output, receipt))
