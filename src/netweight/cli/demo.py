"""`netweight demo`."""

from __future__ import annotations

import click

from . import console, options


@click.command()
@options.json
def command(as_json: bool) -> None:
    """Weigh, compress and decompress a small trained network that ships with netweight, and check what came back."""
    from ..report import story

    with console.ProgressShow() as show:
        told = story.tell(progress=show.step)
    if as_json:
        console.emit_json(told.to_dict())
    else:
        console.result(story.text(told, console.width()))
