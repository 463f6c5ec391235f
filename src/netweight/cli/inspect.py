"""`netweight inspect`."""

from __future__ import annotations

import click

from . import console, image_files, options, routes, text_files


@click.command()
@click.argument("path", metavar="FILE", type=click.Path())
@options.base
@click.option("--no-bound", is_flag=True, help="Don't measure the bounds: nothing is decoded, so it is instant.")
@options.json
def command(path: str, base: str | None, no_bound: bool, as_json: bool) -> None:
    """Show each tensor of FILE, an archive or a plain checkpoint: dtype, shape, codec, bytes, bits per weight.

    The bound is the tensor's order-0 entropy, a figure without bytes; "above" is the distance to it (below zero where
    the code knows more than a histogram). Of a compressed text its model and its blocks are shown.
    """
    from ..report import image_lines, text_lines, texts
    from ..weights.inspection import inspect

    if image_files.is_compressed_image(path):
        text_files.refuse({"--base": base}, "only for checkpoints")
        found = image_files.inspect(path)
        if as_json:
            console.emit_json(found)
        else:
            console.result(image_lines.inspected(found))
        return
    if routes.is_compressed_text(path):
        text_files.refuse({"--base": base}, "only for checkpoints")
        found = text_files.inspect(path)
        if as_json:
            console.emit_json(found)
        else:
            console.result(text_lines.inspected(found, console.width()))
        return

    with console.ProgressShow() as show:
        inspection = inspect(path, base=base, bounds=not no_bound, progress=show.labelled("measuring bounds"))
    console.notes(f"{f.path}: {f.problem}" for f in inspection.files if f.problem)
    if as_json:
        console.emit_json(inspection.to_dict())
    else:
        console.result(texts.inspection_text(inspection, console.width()))
