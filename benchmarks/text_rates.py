"""Rates of texts under every code:  python benchmarks/text_rates.py FILE... [--bytes N] [--effort E] [--model M] [--json OUT]

Every size is the length of bytes that were decoded again and compared (netweight.text.codec.ladder). `--unseen` adds three
texts that no model can have been trained on: a log and a story made here by a seeded generator, and this project's own code.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netweight.text.codec.ladder import TextWeighing, weigh_text
from netweight.text.model import load

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("Ilka", "Osric", "Maren", "Tobble", "Wenna", "Dr Quill")
PLACES = ("the salt mill", "Harrow Lane", "a flat roof in Nantrevel", "the ferry office", "the eel market")
DEEDS = (
    "counted {n} lanterns before the rain came", "sold {n} jars of quince to {b}", "could not find {b} at {p}",
    "wrote to {b} that the {n} o'clock ferry had gone", "painted number {n} on every door of {p}",
    "asked {b} whether anybody at {p} still owed {n} crowns",
)  # fmt: skip


def story(size: int) -> bytes:
    """Sentences about people who don't exist."""
    r, out = random.Random(5), ""
    while len(out) < size:
        a, b = r.sample(NAMES, 2)
        deed = r.choice(DEEDS).format(n=r.randint(2, 99), b=b, p=r.choice(PLACES))
        out += f"{a} {deed}. " + ("\n\n" if r.random() < 0.15 else "")
    return out[:size].encode()


def log(size: int) -> bytes:
    """A service's log of a day that hasn't come."""
    r, out, second = random.Random(6), "", 0
    while len(out) < size:
        second += r.randint(0, 40)
        at = f"2031-02-{1 + second // 86400:02d}T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
        level = r.choices(("INFO", "WARN", "ERROR"), (20, 3, 1))[0]
        request, took = f"{r.getrandbits(32):08x}", r.randint(1, 900)
        status = r.choice((200, 200, 200, 404, 503))
        out += f"{at} {level} worker-{r.randint(1, 8)} request id={request} took {took} ms status={status}\n"
    return out[:size].encode()


def code(size: int) -> bytes:
    """The project's own modules, end to end."""
    return b"".join(p.read_bytes() for p in sorted((ROOT / "src" / "netweight" / "text").rglob("*.py")))[:size]


def texts(arguments: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    for path in arguments.files:
        yield path.name, path.read_bytes()[: arguments.bytes]
    if arguments.unseen:
        size = arguments.bytes or 20_000
        yield from (
            ("a generated story", story(size)),
            ("a generated log", log(size)),
            ("this project's code", code(size)),
        )


def show(weighing: TextWeighing) -> None:
    print(f"\n{weighing.name}: {weighing.original_bytes:,} bytes")
    for row in weighing.rows:
        rate = weighing.bits_per_byte(row.bytes)
        figures = row.problem if rate is None else f"{row.bytes:>10,} {rate:7.4f}"
        print(f"  {row.label:<28} {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--bytes", type=int, help="only the first N bytes of each file")
    parser.add_argument("--unseen", action="store_true")
    parser.add_argument("--effort", default="max")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model, results = load(arguments.model, threads=arguments.threads), list[dict[str, Any]]()
    for name, data in texts(arguments):
        weighing = weigh_text(data, name, model=model, effort=arguments.effort)
        show(weighing)
        results.append(weighing.to_dict())
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
