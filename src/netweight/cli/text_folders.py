"""A folder whose files are compressed each by itself: texts under a language model, on a cluster if there is one."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import FormatError, InputError
from ..source import FileSource
from . import console, routes, text_files

if TYPE_CHECKING:
    from ..text.cluster import Workers
    from ..text.codec.many import Coding
    from ..text.codec.model_block import Model

_SUFFIX: Final = ".nw"


def compress(
    path: str, output: str | None, name: str | None, effort: str, threads: int | None, force: bool, cluster: str | None
) -> dict[str, Any]:
    """FOLDER to a folder with a file NAME.nw for each of its files; what that came to."""
    from ..text.codec.many import compress_texts
    from ..weights.archive import compress_file, outputs
    from ..weights.archive.inputs import default_archive_path, open_inputs

    started = time.perf_counter()
    if not os.path.isdir(path):
        raise InputError(f"{path}: no folder, and --each is for the files of one")
    with ExitStack() as stack:
        inputs = stack.enter_context(open_inputs(path))
        target = Path(output) if output else default_archive_path(path)
        members = {f.path + _SUFFIX: f.source for f in inputs.files}
        folder = stack.enter_context(outputs.new_folder(target, force, set(members)))
        show = stack.enter_context(console.ProgressShow())
        texts = {member: source for member, source in members.items() if routes.is_loose(source)}
        asks = any(map(text_files.worth_a_model, texts.values()))
        model = text_files.load_model(name, threads) if asks or name is not None else None
        mapped, coding = _coding(stack, cluster, model, name, threads, effort)
        coded, done, needs = 0, 0, ""
        made = compress_texts(((s.name, s.read(0, s.size).tobytes()) for s in texts.values()), mapped, coding)
        for member, (data, receipt) in zip(texts, made, strict=True):
            _write(folder / member, data)
            coded, done, needs = coded + len(data), done + receipt.original_bytes, needs or receipt.model
            show.step("compressing", done, inputs.size)
        for member in (m for m in members if m not in texts):
            place = folder / member
            place.parent.mkdir(parents=True, exist_ok=True)
            coded += compress_file(members[member].name, place, effort=effort, threads=threads).archive_bytes
        inputs.check_unchanged()
        size = inputs.size
    return {
        "source": path, "compressed": os.fspath(target), "files": len(members), "original_bytes": size,
        "compressed_bytes": coded, "bits_per_byte": 8 * coded / size if size else None, "model": needs,
        "seconds": time.perf_counter() - started,
    }  # fmt: skip


def decompress(
    path: str, output: str | None, name: str | None, threads: int | None, force: bool, cluster: str | None
) -> dict[str, Any]:
    """The inverse, for a folder of which every file ends in .nw. Raises as `text_files.decompress`."""
    from ..text.codec.many import decompress_texts
    from ..weights.archive import decompress_file, outputs
    from ..weights.archive.inputs import open_inputs

    started = time.perf_counter()
    with ExitStack() as stack:
        inputs = stack.enter_context(open_inputs(path))
        target = Path(output) if output else text_files.without_suffix(path.rstrip("/"))
        members = {}
        for file in inputs.files:
            if not file.path.endswith(_SUFFIX):
                raise InputError(f"{file.source.name}: isn't compressed, and of a folder every file must be")
            members[file.path.removesuffix(_SUFFIX)] = file.source
        folder = stack.enter_context(outputs.new_folder(target, force, set(members)))
        show = stack.enter_context(console.ProgressShow())
        texts = {member: source for member, source in members.items() if routes.is_text_container(source)}
        model = text_files.required_model(name, threads) if any(map(_needs_model, texts.values())) else None
        mapped, coding = _coding(stack, cluster, model, name, threads)
        written, done = 0, 0
        pieces = decompress_texts(((s.name, s.read(0, s.size).tobytes()) for s in texts.values()), mapped, coding)
        for (member, source), data in zip(texts.items(), pieces, strict=True):
            _write(folder / member, data)
            written, done = written + len(data), done + source.size
            show.step("decompressing", done, inputs.size)
        for member in (m for m in members if m not in texts):
            place = folder / member
            place.parent.mkdir(parents=True, exist_ok=True)
            written += decompress_file(members[member].name, place, threads=threads).original_bytes
        size = inputs.size
    return {
        "source": os.fspath(target), "compressed": path, "files": len(members), "original_bytes": written,
        "compressed_bytes": size, "seconds": time.perf_counter() - started,
    }  # fmt: skip


def _coding(
    stack: ExitStack, cluster: str | None, model: Model | None, name: str | None, threads: int | None,
    effort: str = "balanced",
) -> tuple[Workers, Coding]:  # fmt: skip
    """On a cluster, whose workers load the model by its name; else here, where the model has threads enough."""
    from ..text.cluster import workers
    from ..text.codec.many import Coding

    if cluster is None:
        return stack.enter_context(workers(None, 1 if model is not None else threads)), Coding(model, effort=effort)
    mapped = stack.enter_context(workers(cluster))
    if model is None:
        return mapped, Coding(None, effort=effort)
    return mapped, Coding(name or "smollm2", model.digest, effort)


def _needs_model(source: FileSource) -> bool:
    from ..text.codec.container import read_header

    try:
        return read_header(source)[0].digest is not None
    except FormatError:
        return False  # which is told, with the file's name, when it is decoded


def _write(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
