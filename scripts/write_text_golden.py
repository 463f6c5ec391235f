"""Write the golden texts of tests/golden_text:  python scripts/write_text_golden.py

They pin the text format under the tests' stand-in model: what an older netweight wrote must decode for ever, and what this
one writes must not change by accident. Run this when the format has a new version on purpose, and say so in the changelog.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from netweight.text.codec import compress_stream  # noqa: E402
from text_stand_in import MISSING, StandIn, story  # noqa: E402

GOLDEN = ROOT / "tests" / "golden_text"


def wrapped() -> bytes:
    """Paragraphs of lines as long as they may be, with Windows line ends."""
    lines, line = [], b""
    for word in story(2000).split():
        if len(line) + len(word) > 60:
            lines.append(line)
            line = b""
        line += (b" " if line else b"") + word
    return b"\r\n".join(lines) + b"\r\n"


CASES: dict[str, Callable[[], bytes]] = {
    "story": lambda: story(1500),
    "wrapped": wrapped,
    "literals": lambda: story(600) + MISSING + story(300, seed=4),
    "blocks": lambda: story(17_000),
    "bytes": lambda: b"".join(b"%d,%d;" % (k, k * k) for k in range(300)) * 2 + bytes(range(8)) * 20,
    "stored": lambda: bytes((k * k * 131 >> 3) & 255 for k in range(40)),
    "empty": lambda: b"",
}


def compress(case: str) -> bytes:
    """A case as this build writes it."""
    parts: list[bytes] = []
    compress_stream([CASES[case]()], parts.append, model=StandIn(), effort="fast")
    return b"".join(parts)


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for case in CASES:
        path, data = GOLDEN / f"{case}.nw", compress(case)
        same = path.exists() and path.read_bytes() == data
        path.write_bytes(data)
        print(f"{len(data):>8,}  {'same   ' if same else 'WRITTEN'}  {path.name}")


if __name__ == "__main__":
    main()
