"""`netweight priors`."""

from __future__ import annotations

from pathlib import Path

import click

from . import console, options


@click.command()
@click.option("--png", type=click.Path(dir_okay=False), metavar="PLOT", help="Write the plots as an image.")
@options.force
@options.json
def command(png: str | None, force: bool, as_json: bool) -> None:
    """Show that weight decay is a code length: L2 under a Gaussian prior, L1 under a Laplace one, in decodable bytes.

    Trains a small network on the digits that ship with netweight under rising decay, codes all its weights under one
    fixed prior, and compares bits with theory. Takes up to a minute.
    """
    from ..report import files, priors

    with files.planned(html=None, png=png, force=force), console.ProgressShow() as show:
        told = priors.tell(progress=show.step)
        if png is not None:
            priors.write_plot(told, Path(png), force)
    if as_json:
        console.emit_json(told.to_dict())
    else:
        console.result(priors.text(told, console.width()))
