"""A user's file, program.py: what is in it, and its programs as text that stands alone.

    def inputs():                   # the domain: whole numbers [n, d], every input there is
    def network(state, inputs):     # how the model computes: scores [n, classes], or answers [n]
    def program(inputs):            # an interpretation: answers [n]; further ones are called program_...
    def task(inputs):               # optional: the right answers [n]

A program's text is its function's body as Python's own `ast.unparse` writes it. The docstring, comments and the line
`def program(inputs)` aren't sent, so they are free. Nothing else of the file is sent either: the receiver runs the text with
numpy as `np` and nothing more.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import CodeType
from typing import Final

from ...entropy.general import Brotli
from ...errors import BombError, FormatError, InputError, NotFoundError

NAME: Final = "program"
PARAMETER: Final = "inputs"
TASK: Final = "task"
MOST_TEXT: Final = 1 << 20

_NEEDED: Final = ("inputs", "network")
_LEVEL: Final = 11


class ProgramError(InputError):
    """A program that can't be used; `details` is the traceback of what it raised, or ""."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def read_programs(path: Path) -> dict[str, str]:
    """The text of each program by its name in the file, in order.

    Raises NotFoundError; ProgramError if it isn't Python or lacks a function.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path}: can't be read: {error.strerror}") from None
    try:
        tree = ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        raise ProgramError(f"{path}: isn't Python: {error}") from None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    wanted = {name: node for name, node in functions.items() if name == NAME or name.startswith(f"{NAME}_")}
    programs = {name: _body(node, path) for name, node in wanted.items()}
    missing = [name for name in _NEEDED if name not in functions] + ([] if programs else [NAME])
    if missing:
        raise ProgramError(f"{path}: has no function {', '.join(missing)}: see docs/proofs.md for what it must define")
    return programs


def _body(function: ast.FunctionDef, path: Path) -> str:
    """The text of a program. Raises ProgramError unless it is a plain function of `inputs` alone."""
    if ast.unparse(_without_annotations(function.args)) != PARAMETER or function.decorator_list:
        raise ProgramError(f"{path}: {function.name} must be a plain function of one argument, {PARAMETER}")
    documented = ast.get_docstring(function, clean=False) is not None
    return ast.unparse(ast.Module(function.body[documented:] or [ast.Pass()], []))


def _without_annotations(arguments: ast.arguments) -> ast.arguments:
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return arguments


def compiled(text: str, file: str) -> CodeType:
    """Code that defines `program`, the function whose body is `text`. Raises SyntaxError."""
    tree = ast.parse(f"def {NAME}({PARAMETER}): pass")
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = ast.parse(text, file).body
    return compile(tree, file, "exec")


def packed(text: str) -> bytes:
    """A program's text, UTF-8, as one brotli stream."""
    data = text.encode()
    if len(data) > MOST_TEXT:
        raise InputError(f"a program of {len(data)} bytes: at most {MOST_TEXT} can be sent")
    return b"".join(Brotli(_LEVEL).encode_stream([data], len(data)))


def unpacked(data: bytes | memoryview) -> str:
    """The text. Raises FormatError; BombError beyond MOST_TEXT bytes."""
    out = bytearray()
    for piece in Brotli(_LEVEL).decode_stream([data]):
        out += piece
        if len(out) > MOST_TEXT:
            raise BombError(f"a program of more than {MOST_TEXT} bytes")
    try:
        return out.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"a program that isn't UTF-8: {error.reason}") from None
