"""The group of verbs, loaded when used, and what becomes of errors: one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any, Final, NoReturn

import click

from ..errors import FormatError, NetweightError, OutputError

OK, FAILED, USAGE, DAMAGED, OUTPUT, PIPE, INTERRUPTED = 0, 1, 2, 3, 4, 141, 130

_VERBS: Final = {
    "weigh": "Weigh a checkpoint or a text under every code we have.",
    "compress": "Compress a checkpoint (losslessly, at a stated error, or for a task) or a text.",
    "decompress": "Give back the file: the same byte for byte, or with the weights that were quantised.",
    "verify": "Decode everything and check every checksum.",
    "inspect": "Show what each tensor takes and how far that is from its bound.",
    "curve": "Measure how few bits a checkpoint takes at which error.",
    "explain": "Tell which structure each tensor has, and what it saves.",
    "ncd": "Measure how far texts are from each other, by compression.",
    "classify": "Classify texts by compression.",
    "study": "Ask whether better compression is better classification.",
    "labels": "Weigh what a network knows: labels given pictures, under three decodable codes.",
    "bitsback": "Tell what weights cost that are known only so well: bits-back against a fixed step.",
    "prove": "Price an interpretation of a network: a program and what it leaves unexplained.",
    "priors": "Show that weight decay is a code length, in decodable bytes.",
    "comm": "Compress between networks: certify compressors against their bounds, measure training.",
    "shrink": "Make a network smaller: prune, factor, quantise, distil, exit early, within a target.",
    "demo": "The story in one command, on a small trained network.",
}

_EPILOG: Final = """\b
Exit codes:
  0    done
  1    an error: missing input, wrong base, missing extra, difference found
  2    the command line was wrong
  3    the input is damaged or isn't what it claims to be
  4    the output can't be written (exists, disk full, read-only)
  130  interrupted

Results go to standard output, everything else to standard error.
"""


class _PipeClosedError(Exception):
    """Whoever read our output went away; click would turn a BrokenPipeError into exit code 1."""


class Verbs(click.Group):
    """Lists verbs by name and imports one when it is run or asked for its help."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _PipeClosedError from None

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _VERBS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"netweight {version('netweight')}")
        ctx.exit()


_VERSION: Final = click.Option(
    ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)

cli: Final = Verbs(
    name="netweight",
    help="How much does your network really weigh?\n\nEvery size that is printed is the length of bytes that were "
    "decoded again; a bound is called a bound.",
    epilog=_EPILOG,
    params=[_VERSION],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run one command line and exit with its code. An unexpected exception keeps its traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(_run(arguments))


def _terminated(number: int, _: FrameType | None) -> NoReturn:
    """End as on an error, so that nothing half-written stays behind."""
    sys.exit(128 + number)


def _run(arguments: list[str] | None) -> int:
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
        return code
    except (BrokenPipeError, _PipeClosedError):
        _silence_stdout()
        return PIPE
    except (KeyboardInterrupt, click.Abort):
        click.echo("netweight: interrupted", err=True)
        return INTERRUPTED
    except click.UsageError as error:
        return _usage(error)
    except click.ClickException as error:
        return _say(error.format_message(), FAILED)
    except NetweightError as error:
        return _say(str(error), _code(error))


def _invoke(arguments: list[str] | None) -> int:
    result: Any = cli.main(args=arguments, prog_name="netweight", standalone_mode=False)
    return result if isinstance(result, int) else OK


def _code(error: NetweightError) -> int:
    if isinstance(error, FormatError):
        return DAMAGED
    return OUTPUT if isinstance(error, OutputError) else FAILED


def _say(message: str, code: int) -> int:
    """One line, whatever the message holds: it may quote a hostile file."""
    from ..report.numbers import printable

    click.echo(f"netweight: error: {printable(' '.join(message.split()))}", err=True)
    return code


def _usage(error: click.UsageError) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return USAGE
    if error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
    return _say(error.format_message(), USAGE)


def _silence_stdout() -> None:
    """The reader went away (`netweight inspect x | head`): drop the rest, so that Python's exit doesn't complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
