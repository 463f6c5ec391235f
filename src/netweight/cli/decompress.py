"""`netweight decompress`."""

from __future__ import annotations

import os

import click

from . import console, image_files, options, routes, text_files


@click.command()
@click.argument("path", metavar="FILE.nw", type=click.Path())
@options.output("Where to write (default: FILE; - is standard output).")
@options.base
@text_files.model
@click.option("--salvage", is_flag=True, help="Texts: write what is sound of a damaged file, and say what isn't.")
@text_files.cluster
@options.threads
@options.force
@options.json
def command(
    path: str, output: str | None, base: str | None, model: str | None, salvage: bool, cluster: str | None,
    threads: int | None, force: bool, as_json: bool,
) -> int | None:  # fmt: skip
    """Give back what FILE.nw was made from, byte for byte (- is standard input; a folder is what compress --each made).

    A compressed picture becomes a PNG file.

    Every checksum is checked; the result appears only when all of it is right.
    """
    if path != "-" and os.path.isdir(path):
        text_files.refuse({"--base": base, "--salvage": salvage}, f"only for a file, and {path} is a folder")
        _folder(path, output, model, threads, force, cluster, as_json)
        return None
    text_files.refuse({"--cluster": cluster}, f"only for a folder that compress --each made, which {path} isn't")
    if image_files.is_compressed_image(path):
        text_files.refuse({"--base": base, "--model": model, "--salvage": salvage}, "not for a compressed picture")
        _picture(path, output, force, as_json)
        return None
    if routes.is_compressed_text(path):
        text_files.refuse({"--base": base}, "only for checkpoints")
        return _text(path, output, model, salvage, threads, force, as_json)
    text_files.refuse({"--model": model, "--salvage": salvage}, f"only for a compressed text, which {path} isn't")
    from ..report import lines
    from ..weights.archive import decompress_file

    if path == "-" and output is None:
        output = "-"
    with console.ProgressShow() as show:
        receipt = decompress_file(
            path, output, base=base, threads=threads, force=force, progress=show.labelled("decompressing")
        )
    to_stderr = receipt.source == "-"
    if as_json:
        console.emit_json(receipt.to_dict(), to_stderr=to_stderr)
    else:
        console.result(lines.decompressed(receipt), to_stderr=to_stderr)
    return None


def _picture(path: str, output: str | None, force: bool, as_json: bool) -> None:
    from ..report import image_lines

    if output == "-":
        raise click.UsageError("a picture is written to a file: name it instead of -")
    receipt = image_files.decompress(path, output, force)
    if as_json:
        console.emit_json(receipt)
    else:
        console.result(image_lines.decompressed(receipt))


def _folder(
    path: str,
    output: str | None,
    model: str | None,
    threads: int | None,
    force: bool,
    cluster: str | None,
    as_json: bool,
) -> None:
    from ..report import text_lines
    from . import text_folders

    if output == "-":
        raise click.UsageError("a folder can't go to standard output")
    receipt = text_folders.decompress(path, output, model, threads, force, cluster)
    if as_json:
        console.emit_json(receipt)
    else:
        console.result(text_lines.decompressed_folder(receipt))


def _text(
    path: str, output: str | None, model: str | None, salvage: bool, threads: int | None, force: bool, as_json: bool
) -> int:
    from ..report import text_lines
    from .app import DAMAGED, OK

    receipt = text_files.decompress(path, output, model, threads, force, salvage)
    console.notes(f"lost: {what}" for what in receipt["lost"])
    to_stderr = receipt["source"] == "-"
    if as_json:
        console.emit_json(receipt, to_stderr=to_stderr)
    else:
        console.result(text_lines.decompressed(receipt), to_stderr=to_stderr)
    return DAMAGED if receipt["lost"] else OK
