"""`netweight prove`."""

from __future__ import annotations

import click

from ..errors import InputError
from . import console, options


@click.command()
@click.argument("program", metavar="[PROGRAM.PY", type=click.Path(), required=False)
@click.argument("model", metavar="MODEL]", type=click.Path(), required=False)
@click.option("--example", metavar="NAME", help="One that ships with netweight: max-of-k or modular-addition.")
@click.option("--png", type=click.Path(dir_okay=False), metavar="PLOT", help="Write the plot as an image.")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, metavar="S",
    help="How long each run of your code may take.",
)  # fmt: skip
@options.force
@options.json
def command(
    program: str | None, model: str | None, example: str | None, png: str | None, seconds: float, force: bool, as_json: bool
) -> None:  # fmt: skip
    """Price an interpretation of the network in MODEL: a program, and what it leaves unexplained.

    PROGRAM.PY defines inputs() (all that there are), network(state, inputs), one or more program(inputs),
    program_other(inputs), and, if right answers are known, task(inputs). Both are evaluated on every input. PROGRAM.PY is
    your own code: it runs with all your rights, in a process of its own.
    """
    from ..report import files
    from ..report import proof as report
    from ..weights.proof.examples import example as example_named
    from ..weights.proof.program import ProgramError
    from ..weights.proof.study import prove

    if (example is None) == (program is None) or (program is None) != (model is None):
        raise click.UsageError("give PROGRAM.PY and MODEL, or --example alone")
    given = example_named(example) if example is not None else (str(program), str(model))
    wanted = files.promised([(png, report.plot)], force, draws=True)
    try:
        with console.ProgressShow() as show:
            found = prove(*given, seconds=seconds, progress=show.step)
    except ProgramError as error:
        if error.details:
            click.echo(error.details, err=True)
        raise InputError(str(error)) from None
    wanted.write(found)
    if as_json:
        console.emit_json(found.to_dict())
    else:
        console.result(report.proof_text(found, console.width()))
