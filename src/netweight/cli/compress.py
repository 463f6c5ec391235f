"""`netweight compress`."""

from __future__ import annotations

import click

from . import console, options


@click.command()
@click.argument("path", metavar="PATH", type=click.Path())
@options.output("Where to write (default: PATH.nw; - is standard output).")
@click.option(
    "--effort", type=click.Choice(options.EFFORTS), default="balanced", show_default=True, help="How hard to try."
)
@options.base
@options.threads
@options.force
@options.json
def command(
    path: str, output: str | None, effort: str, base: str | None, threads: int | None, force: bool, as_json: bool
) -> None:
    """Compress PATH losslessly: a file, a folder, a *.safetensors.index.json with its shards, or - for standard input.

    The input is never changed. A file that isn't understood is compressed as plain bytes.
    """
    from ..report import lines
    from ..weights.archive import compress_file

    if path == "-" and output is None:
        output = "-"
    console.spare_terminal(output)
    with console.ProgressShow() as show:
        receipt = compress_file(
            path, output, effort=effort, base=base, threads=threads, force=force, progress=show.labelled("compressing")
        )
    console.notes(receipt.problems)
    to_stderr = receipt.archive == "-"
    if as_json:
        console.emit_json(receipt.to_dict(), to_stderr=to_stderr)
    else:
        console.result(lines.compressed(receipt), to_stderr=to_stderr)
