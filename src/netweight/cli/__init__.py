"""The command line: one file per verb, each a thin layer over `netweight.weights` and `netweight.report`.

app.py       the group of verbs, loaded when used; errors to messages and exit codes
console.py   results to stdout, notes and progress to stderr
options.py   options that verbs share
"""

from __future__ import annotations


def main() -> None:
    """Run the command line with `sys.argv` and exit."""
    from .app import run

    run()
