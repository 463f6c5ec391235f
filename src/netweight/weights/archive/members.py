"""Names of files inside an archive."""

from __future__ import annotations

from pathlib import PurePosixPath

from ...errors import FormatError


def safe_member(path: str) -> PurePosixPath:
    """`path` as a place below a folder. Raises FormatError for one that isn't, on any system."""
    member = PurePosixPath(path)
    bad = not path or member.is_absolute() or ".." in member.parts or "\\" in path or "\0" in path
    if bad or not member.parts or member.as_posix() != path:
        raise FormatError(f"holds a file called {path!r}, which would leave the output folder")
    return member
