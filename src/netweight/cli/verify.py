"""`netweight verify`."""

from __future__ import annotations

import click

from . import console, options, text_files


@click.command()
@click.argument("path", metavar="FILE", type=click.Path())
@click.option("--against", type=click.Path(), metavar="ORIGINAL", help="Compare with this file or folder byte by byte.")
@options.base
@text_files.model
@options.threads
@options.json
def command(
    path: str, against: str | None, base: str | None, model: str | None, threads: int | None, as_json: bool
) -> None:
    """Decode all of FILE, an archive or a compressed text, check every checksum, and write nothing."""
    from ..report import lines, text_lines
    from ..weights.archive import verify_file

    if text_files.is_compressed_text(path):
        text_files.refuse({"--base": base}, "only for checkpoints")
        found = text_files.verify(path, against, model, threads)
        if as_json:
            console.emit_json(found | {"sound": True})
        else:
            console.result(text_lines.verified(found))
        return
    text_files.refuse({"--model": model}, f"only for a compressed text, which {path} isn't")

    with console.ProgressShow() as show:
        receipt = verify_file(path, against=against, base=base, threads=threads, progress=show.labelled("verifying"))
    if as_json:
        console.emit_json(receipt.to_dict() | {"sound": True})
    else:
        console.result(lines.verified(receipt))
