"""`netweight verify`."""

from __future__ import annotations

import click

from . import console, image_files, options, routes, text_files


@click.command()
@click.argument("path", metavar="FILE", type=click.Path())
@click.option("--against", type=click.Path(), metavar="ORIGINAL", help="Compare with this file or folder byte by byte.")
@click.option(
    "--symmetries", type=click.Path(), metavar="ARCH",
    help="With --against, of an archive that compress --symmetries made: compare what both networks compute.",
)  # fmt: skip
@options.base
@text_files.model
@options.threads
@options.json
def command(
    path: str, against: str | None, symmetries: str | None, base: str | None, model: str | None, threads: int | None, as_json: bool
) -> None:  # fmt: skip
    """Decode all of FILE, an archive or a compressed text, check every checksum, and write nothing."""
    from ..report import image_lines, lines, text_lines
    from ..weights.archive import verify_file

    if image_files.is_compressed_image(path):
        text_files.refuse({"--base": base, "--model": model}, "not for a compressed picture")
        found = image_files.verify(path, against)
        if as_json:
            console.emit_json(found)
        else:
            console.result(image_lines.verified(found))
        return
    if routes.is_compressed_text(path):
        text_files.refuse({"--base": base}, "only for checkpoints")
        found = text_files.verify(path, against, model, threads)
        if as_json:
            console.emit_json(found | {"sound": True})
        else:
            console.result(text_lines.verified(found))
        return
    text_files.refuse({"--model": model}, f"only for a compressed text, which {path} isn't")

    with console.ProgressShow() as show:
        receipt = verify_file(
            path,
            against=against,
            base=base,
            symmetries=symmetries,
            threads=threads,
            progress=show.labelled("verifying"),
        )
    if as_json:
        console.emit_json(receipt.to_dict() | {"sound": True})
    else:
        console.result(lines.verified(receipt))
