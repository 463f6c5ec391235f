"""`netweight verify`."""

from __future__ import annotations

import click

from . import console, options


@click.command()
@click.argument("path", metavar="FILE", type=click.Path())
@click.option("--against", type=click.Path(), metavar="ORIGINAL", help="Compare with this file or folder byte by byte.")
@options.base
@options.threads
@options.json
def command(path: str, against: str | None, base: str | None, threads: int | None, as_json: bool) -> None:
    """Decode all of the archive FILE, check every checksum, and write nothing."""
    from ..report import lines
    from ..weights.archive import verify_file

    with console.ProgressShow() as show:
        receipt = verify_file(path, against=against, base=base, threads=threads, progress=show.labelled("verifying"))
    if as_json:
        console.emit_json(receipt.to_dict() | {"sound": True})
    else:
        console.result(lines.verified(receipt))
