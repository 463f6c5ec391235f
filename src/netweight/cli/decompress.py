"""`netweight decompress`."""

from __future__ import annotations

import click

from . import console, options


@click.command()
@click.argument("path", metavar="FILE.nw", type=click.Path())
@options.output("Where to write (default: FILE; - is standard output).")
@options.base
@options.threads
@options.force
@options.json
def command(path: str, output: str | None, base: str | None, threads: int | None, force: bool, as_json: bool) -> None:
    """Give back what FILE.nw was made from, byte for byte (- is standard input).

    Every checksum is checked; the result appears only when all of it is right.
    """
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
