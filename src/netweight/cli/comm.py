"""`netweight comm`: compression between networks."""

from __future__ import annotations

import click

from . import comm_bench, console, options


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Compression between networks: gradients, activations and gossip as fewer bytes, under bounds that are checked."""


command.add_command(comm_bench.command)


@command.command()
@click.argument("targets", metavar="[COMPRESSOR]...", nargs=-1)
@click.option(
    "--d", "lengths", multiple=True, type=click.IntRange(min=1), metavar="D",
    help="Length of the vectors (repeatable; default: 1024).",
)  # fmt: skip
@click.option(
    "--vectors", type=click.IntRange(min=1), default=2, metavar="N", help="Vectors of each kind (default: 2)."
)
@click.option("--seeds", type=click.IntRange(min=2), default=20, metavar="N", help="Seeds a vector (default: 20).")
@click.option("--html", type=click.Path(dir_okay=False), metavar="PAGE", help="Write a self-contained page.")
@click.option("--png", type=click.Path(dir_okay=False), metavar="PLOT", help="Write the plot as an image.")
@options.force
@options.json
def certify(
    targets: tuple[str, ...], lengths: tuple[int, ...], vectors: int, seeds: int,
    html: str | None, png: str | None, force: bool, as_json: bool,
) -> int:  # fmt: skip
    """Try every COMPRESSOR against its claimed bound and against the limit; exit with 1 if one breaks its claim.

    A COMPRESSOR is one of netweight.comm ("TopK(fraction=0.01)") or yours (module:name). Without any, all of ours are tried:
    bias, error and real bits on isotropic, spiky and structured vectors.
    """
    from ..comm.certify import suite
    from ..report import comm_certify as report
    from ..report import files

    chosen = _chosen(targets)
    wanted = files.promised([(html, report.page), (png, report.plot)], force, draws=True)
    with console.ProgressShow() as show:
        found = suite.certify(chosen, lengths or (1024,), vectors, seeds, progress=show.step)
    wanted.write(found)
    if as_json:
        console.emit_json(report.to_dict(found))
    else:
        console.result(report.text(found, console.width()))
    return 1 if any(m.problems for m in found) else 0


def _chosen(targets: tuple[str, ...]):  # type: ignore[no-untyped-def]
    """The candidates; what a user's module raises becomes one of our errors, with its own traceback."""
    from ..comm.certify import suite
    from ..errors import InputError, NetweightError
    from ..weights.user_code import user_traceback

    try:
        return suite.candidates(targets)
    except NetweightError:
        raise
    except Exception as error:  # noqa: BLE001  a user's module may raise anything
        console.note(user_traceback(error, __file__, suite.__file__))
        raise InputError(f"{' '.join(targets)}: can't be loaded: {type(error).__name__}: {error}") from None
