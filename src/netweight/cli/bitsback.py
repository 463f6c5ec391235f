"""`netweight bitsback`."""

from __future__ import annotations

import click

from . import console, options


@click.command()
@options.json
def command(as_json: bool) -> None:
    """Tell what weights cost that are known only so well: Hinton and van Camp's story in decodable messages.

    Fits a small network of Gaussian weights to the digits that ship with netweight, and sends it by bits-back, by relative
    entropy coding, dithered, and in steps of one size.
    """
    from ..report import labels

    told = labels.demo_story()
    if as_json:
        console.emit_json(told.to_dict())
    else:
        console.result(labels.story_text(told, console.width()))
