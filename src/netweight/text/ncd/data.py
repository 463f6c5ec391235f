"""Labelled texts: reading `label<TAB>text` lines, drawing shots and documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, InputError, NotFoundError

_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Labelled:
    """Texts (UTF-8 or any bytes) with a label each."""

    texts: tuple[bytes, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: NDArray[np.int64]) -> Labelled:
        return Labelled(tuple(self.texts[i] for i in indices), tuple(self.labels[i] for i in indices))

    @property
    def nbytes(self) -> int:
        return sum(map(len, self.texts))


def read_labelled(path: str | os.PathLike[str]) -> Labelled:
    """A file of lines `label<TAB>text`; empty lines are passed over. Raises NotFoundError, InputError, FormatError."""
    file = Path(path)
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise InputError(f"{file}: more than {_MOST_BYTES} bytes of labelled texts")
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise NotFoundError(f"{file}: can't be read: {error.strerror}") from None
    texts, labels = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        label, tab, text = line.rstrip(b"\r").partition(b"\t")
        if not tab:
            raise FormatError(f"{file}, line {number}: no tab between label and text")
        labels.append(label.decode("utf-8", "backslashreplace"))
        texts.append(text)
    if not texts:
        raise InputError(f"{file}: holds no labelled text")
    return Labelled(tuple(texts), tuple(labels))


def shots(data: Labelled, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Indices of `count` texts of every label (all of a label that has fewer), in file order."""
    labels = np.array(data.labels)
    chosen = [
        generator.choice(where, min(count, len(where)), replace=False)
        for label in sorted(set(data.labels))
        for where in [np.flatnonzero(labels == label)]
    ]
    return np.sort(np.concatenate(chosen))


def documents(among: Sequence[int], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """`count` of the indices `among` (0: all), in order."""
    where = np.array(among, np.int64)
    if not count or count >= len(where):
        return where
    return np.sort(generator.choice(where, count, replace=False))


def split(
    train: Labelled, test: Labelled | None, shot_count: int, document_count: int, seed: int
) -> tuple[Labelled, Labelled]:
    """Texts to learn from and documents to label, the same for one seed. Shots 0: all there are.

    Without a test set the documents are those of `train` that aren't shots. Raises InputError if nothing is left.
    """
    generator = np.random.default_rng(seed)
    if test is None and not shot_count:
        raise InputError("one file can't be both split and learnt from as a whole: give shots, or a test file")
    known = shots(train, shot_count, generator) if shot_count else np.arange(len(train))
    source = train if test is None else test
    among = sorted(set(range(len(source))) - (set(known.tolist()) if test is None else set()))
    if not among:
        raise InputError("no document is left to label")
    return train.take(known), source.take(documents(among, document_count, generator))
