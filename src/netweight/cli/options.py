"""Options that verbs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from ..weights.lossy.target import Target

EFFORTS: Final = ("fast", "balanced", "max")

Command = Callable[..., Any]

json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
force = click.option("-f", "--force", is_flag=True, help="Overwrite existing output.")
base = click.option(
    "--base", type=click.Path(), metavar="BASE", help="The checkpoint that only the differences are coded against."
)
cluster = click.option(
    "--cluster", metavar="WHERE", help="A Dask cluster: tcp://host:port, or local:N for N processes on this machine."
)
threads = click.option(
    "-t", "--threads", type=click.IntRange(min=1), metavar="N", help="Threads to use (default: all cores)."
)


def output(what: str) -> Callable[[Command], Command]:
    """`-o OUT`."""
    return click.option("-o", "--output", type=click.Path(), metavar="OUT", help=what)


@dataclass(frozen=True)
class Lossy:
    """What was asked of lossy coding: a target, if any, and keywords of `compress_lossy`."""

    target: Target | None
    keywords: dict[str, Any]
    given: tuple[str, ...]

    def refuse_alone(self) -> None:
        """Raises UsageError for an option that means nothing without a target."""
        if self.given:
            raise click.UsageError(
                f"{', '.join(self.given)}: only with --bits, --rel-mse, --max-error, --size or --task; "
                "without one of them nothing is quantised"
            )


def lossy(command: Command) -> Command:
    """The targets of lossy coding and what they may touch, as keywords that `lossy_of` reads."""
    for option in reversed(_LOSSY):
        command = option(command)
    return command


_LOSSY: Final = (
    click.option("--bits", type=float, metavar="B", help="Quantise to at most B bits a quantised weight."),
    click.option(
        "--rel-mse",
        type=float,
        metavar="E",
        help="Quantise with ||w - q||^2 / ||w||^2 of at most E, over all that is quantised.",
    ),
    click.option("--max-error", type=float, metavar="E", help="Quantise with no weight changed by more than E."),
    click.option(
        "--size",
        metavar="SIZE",
        help="Quantise to an archive of at most SIZE: bytes, or with kB, MB, GB, KiB, MiB, GiB.",
    ),
    click.option(
        "--keep", multiple=True, metavar="REGEX", help="Keep tensors whose name matches lossless (repeatable)."
    ),
    click.option(
        "--least",
        type=click.IntRange(min=0),
        metavar="N",
        help="Keep vectors, and tensors of fewer weights than this, lossless (default: 1024; 0 quantises vectors too).",
    ),
    click.option(
        "--equal-error",
        is_flag=True,
        help="The same relative error for every tensor, instead of the least error in all.",
    ),
    click.option(
        "--calibrate",
        type=click.Path(),
        metavar="FILE",
        help="Count the error of each layer's output: FILE (.npz, .safetensors) has X^T X, or inputs X, by weight name.",
    ),
)


def lossy_of(values: dict[str, Any]) -> Lossy:
    """Raises InputError for more than one target, or an impossible one."""
    from ..weights.lossy.target import LEAST_WEIGHTS, Touched, one_target, parse_size

    size = None if values["size"] is None else float(parse_size(values["size"]))
    kinds = [(kind, values[kind]) for kind in ("bits", "rel_mse", "max_error")]
    target = one_target([*kinds, ("size", size)])
    keep = "|".join(f"(?:{pattern})" for pattern in values["keep"])
    least = LEAST_WEIGHTS if values["least"] is None else values["least"]
    keywords: dict[str, Any] = {"touched": Touched(keep, least), "equal_error": values["equal_error"]}
    if values["calibrate"] is not None:
        keywords["calibration"] = values["calibrate"]
    names = {"keep": "--keep", "equal_error": "--equal-error", "calibrate": "--calibrate"}
    given = [flag for name, flag in names.items() if values[name]]
    return Lossy(target, keywords, (*given, *(["--least"] if values["least"] is not None else [])))
