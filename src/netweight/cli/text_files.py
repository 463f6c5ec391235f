"""The verbs that read and write files, for texts: what they do once a path turned out to be one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import FormatError, InputError, MissingExtraError, OutputError
from ..source import FileSource
from . import console, routes
from .options import Command

if TYPE_CHECKING:
    from ..text.codec.ladder import TextWeighing
    from ..text.codec.model_block import Model

_CHUNK_BYTES: Final = 1 << 20
_SUFFIX: Final = ".nw"
_LEAST_TEXT: Final = 32
_GUESS_SHARE: Final = 50
"""How long it will take is guessed once a fiftieth is done."""

model: Callable[[Command], Command] = click.option(
    "--model", metavar="MODEL",
    help="Texts: the language model: smollm2 (the default), a .gguf file, a Hugging Face directory; none is without one.",
)  # fmt: skip

cluster: Callable[[Command], Command] = click.option(
    "--cluster", metavar="WHERE",
    help="Texts: work on a Dask cluster too: tcp://host:port, or local:N for N processes on this machine.",
)  # fmt: skip


def load_model(name: str | None, threads: int | None) -> Model | None:
    """The model that was asked for; None for "none", or if the default one isn't installed, which a note tells.

    Raises MissingExtraError for a model that was asked for by name, NotFoundError, FormatError.
    """
    if name == "none":
        return None
    from ..text.model import load

    try:
        return load(name, threads=threads or 0)
    except MissingExtraError as error:
        if name is not None:
            raise
        console.note(f"without a language model this takes about twice the bytes: {error}")
        return None


def required_model(name: str | None, threads: int | None) -> Model:
    """The same where there is no doing without. Raises MissingExtraError too."""
    from ..text.model import load

    return load(name, threads=threads or 0)


def worth_a_model(source: FileSource) -> bool:
    """Whether a language model may help at all: not for what isn't text, nor for less than its name takes."""
    return source.size >= _LEAST_TEXT and routes.begins_as_text(source)


class _Steps:
    """Progress of a whole file; where there is no bar, words that say how long it may still take."""

    def __init__(self, show: console.ProgressShow, label: str, total: int) -> None:
        self._show, self._label, self._total, self._done = show, label, total, 0
        self._start, self._bar = time.monotonic(), sys.stderr.isatty()

    def __call__(self, count: int) -> None:
        from ..report.numbers import seconds

        self._done += count
        label, elapsed = self._label, time.monotonic() - self._start
        if not self._bar and self._total > self._done > self._total / _GUESS_SHARE:
            label += f" (about {seconds(elapsed * (self._total / self._done - 1))} left)"
        self._show.step(label, self._done, self._total)


def compress(
    path: str, output: str | None, name: str | None, effort: str, threads: int | None, force: bool, cluster: str | None
) -> dict[str, Any]:
    """Compress a text; what the receipt says, and where from and to."""
    from ..text.cluster import workers
    from ..text.codec import Spread, compress_stream

    with ExitStack() as stack:
        source = stack.enter_context(routes.open_source(path))
        target = _target(path, output, lambda: Path(path + _SUFFIX))
        _refuse_same(path, target)
        sink = _sink(stack, target, force, 0o666 if path == routes.STDIO else source.mode)
        show = stack.enter_context(console.ProgressShow())
        steps = _Steps(show, "compressing", source.size)
        found = load_model(name, threads) if name is not None or worth_a_model(source) else None
        spread = None
        if cluster is not None and found is not None:
            spread = Spread(stack.enter_context(workers(cluster)), name or "smollm2")
        receipt = compress_stream(_chunks(source), sink, model=found, effort=effort, progress=steps, spread=spread)
        source.check_unchanged()
        return {"source": source.name, "compressed": _shown(target, output)} | receipt.to_dict()


def decompress(
    path: str, output: str | None, name: str | None, threads: int | None, force: bool, salvage: bool
) -> dict[str, Any]:
    """Give back a text, or with `salvage` what is sound of it and a list of what isn't.

    Raises DamagedBlocksError, FormatError and its kin, BaseMismatchError, MissingExtraError.
    """
    from ..text.codec import TextFile

    started = time.perf_counter()
    with ExitStack() as stack:
        source = stack.enter_context(routes.open_source(path))
        file = TextFile(source, lambda: required_model(name, threads), salvage=salvage)
        target = _target(path, output, lambda: without_suffix(path))
        _refuse_same(path, target)
        sink = _sink(stack, target, force, 0o666 if path == routes.STDIO else source.mode)
        show = stack.enter_context(console.ProgressShow())
        steps = _Steps(show, "decompressing", file.size)
        lost, written = [file.problem] if file.problem else [], 0
        for piece in _sound(file.decode(progress=steps), lost) if salvage else file.pieces(progress=steps):
            sink(piece)
            written += len(piece)
        return {
            "source": _shown(target, output), "compressed": source.name, "original_bytes": written,
            "compressed_bytes": source.size, "blocks": len(file.blocks), "lost": lost,
            "seconds": time.perf_counter() - started,
        }  # fmt: skip


def verify(path: str, against: str | None, name: str | None, threads: int | None) -> dict[str, Any]:
    """Decode all and check it, against a file too if one is given. Raises as `decompress`, and InputError."""
    from ..text.codec import TextFile

    started = time.perf_counter()
    with ExitStack() as stack:
        source = stack.enter_context(routes.open_source(path))
        file = TextFile(source, lambda: required_model(name, threads))
        original = None if against is None else stack.enter_context(FileSource(against))
        if original is not None and original.size != file.size:
            raise InputError(f"{against}: has {original.size} bytes, {path} holds {file.size}")
        show, at = stack.enter_context(console.ProgressShow()), 0
        for piece in file.pieces(progress=_Steps(show, "verifying", file.size)):
            if original is not None and original.read(at, len(piece)).tobytes() != piece:
                raise InputError(f"{against}: differs from {path} near byte {at}")
            at += len(piece)
        return {
            "compressed": source.name, "against": against or "", "original_bytes": file.size, "compressed_bytes": source.size,
            "blocks": len(file.blocks), "seconds": time.perf_counter() - started,
        }  # fmt: skip


def inspect(path: str) -> dict[str, Any]:
    """What the file says of itself and its blocks, without decoding any."""
    from ..text.codec import TextFile
    from ..text.codec.container import KINDS

    def never() -> Model:
        raise AssertionError("nothing is decoded")

    with routes.open_source(path) as source:
        file = TextFile(source, never)
        header, blocks = file.header, []
        for block in file.blocks:
            found = file.record(block)
            blocks.append({"number": block.number, "start": block.start, "bytes": block.size, "kind": KINDS[found.kind],
                           "compressed_bytes": block.length})  # fmt: skip
        return {
            "compressed": source.name, "compressed_bytes": source.size, "original_bytes": file.size,
            "model": header.name, "model_digest": (header.digest or b"").hex(),
            "window": header.window and header.window.length, "keep": header.window and header.window.keep,
            "blocks": blocks,
        }  # fmt: skip


def weigh(path: str, name: str | None, effort: str, threads: int | None) -> TextWeighing:
    """The ladder of a text. Raises InputError, GuaranteeError, and as `load_model`."""
    from ..text.codec.ladder import MOST_BYTES, weigh_text

    with routes.open_source(path) as source, console.ProgressShow() as show:
        if source.size > MOST_BYTES:
            raise InputError(f"{path}: {source.size} bytes are too many to weigh in memory; weigh a part of it")
        data = source.read(0, source.size).tobytes()
        found = load_model(name, threads)
        size = None if found is None else _model_bytes(name)
        return weigh_text(data, source.name, model=found, model_bytes=size, effort=effort, progress=show.step)


def _model_bytes(name: str | None) -> int:
    """Of the files that a model was loaded from."""
    from ..text.model import loading

    path = loading._default() if name in (None, loading.DEFAULT) else Path(str(name))  # noqa: SLF001  told by nobody else
    files = [p for p in path.iterdir() if p.is_file()] if path.is_dir() else [path]
    return sum(p.stat().st_size for p in files)


def _sound(decoded: Iterator[tuple[Any, bytes | FormatError]], lost: list[str]) -> Iterator[bytes]:
    for block, data in decoded:
        if isinstance(data, bytes):
            yield data
        else:
            lost.append(f"block {block.number} (bytes {block.start}..{block.start + block.size}): {data}")


def _chunks(source: FileSource) -> Iterator[bytes]:
    for at in range(0, source.size, _CHUNK_BYTES):
        yield source.read(at, min(_CHUNK_BYTES, source.size - at)).tobytes()


def _target(path: str, output: str | None, default: Callable[[], Path]) -> Path | None:
    """Where to write; None is standard output, where what came from standard input goes."""
    if output is None and path != routes.STDIO:
        return default()
    return None if output in (None, routes.STDIO) else Path(os.path.abspath(output))


def without_suffix(path: str) -> Path:
    """Raises InputError."""
    if not path.endswith(_SUFFIX):
        raise InputError(f"{path}: doesn't end in {_SUFFIX}, so name the output with -o")
    return Path(path.removesuffix(_SUFFIX))


def _shown(target: Path | None, output: str | None) -> str:
    return routes.STDIO if target is None else output or os.fspath(target)


def _refuse_same(path: str, target: Path | None) -> None:
    if target is not None and target.exists() and os.path.samefile(target, routes.place_of(path)):
        raise InputError(f"{target}: is the input; choose another output")


def _sink(stack: ExitStack, target: Path | None, force: bool, mode: int) -> Callable[[bytes], None]:
    """Writes to what becomes `target` when all went well."""
    from ..weights.archive import outputs

    made = outputs.stdout_file() if target is None else outputs.new_file(target, force, mode)
    descriptor, position = stack.enter_context(made), 0

    def sink(data: bytes) -> None:
        nonlocal position
        outputs.write_all(descriptor, data, position)
        position += len(data)

    return sink


def refuse(options: dict[str, Any], why: str) -> None:
    """Raises UsageError if one of the options (by flag) was given."""
    if given := [flag for flag, value in options.items() if value]:
        raise click.UsageError(f"{', '.join(given)}: {why}")


def spare_terminal(output: str | None) -> None:
    """Raises OutputError if compressed bytes would be poured into a terminal."""
    if output == "-" and sys.stdout.isatty():
        raise OutputError("compressed text is no sight for a terminal; name a file with -o, or pipe it on")
