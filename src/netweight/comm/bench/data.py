"""Handwritten digits to learn: scikit-learn's, or a file of MNIST's kind."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, MissingExtraError, NotFoundError

_TEST_SHARE = 5  # of scikit-learn's digits, one in so many is for testing
_MOST_TEST = 10_000


@dataclass(frozen=True)
class Split:
    """Inputs float32 [n, pixels] in 0..1 and labels int64 [n], to train on and to test on."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]

    @property
    def classes(self) -> int:
        return int(max(self.y.max(), self.test_y.max())) + 1


def load(path: str | os.PathLike[str] | None, test: int | None = None) -> Split:
    """The digits of `path`: a .npz with `x_train`, `y_train`, `x_test`, `y_test`, or with `x`, `y` of which the last `test`
    (one in twenty by default) are for testing. Without a path scikit-learn's, drawn with seed 0.

    Raises NotFoundError, InputError, MissingExtraError.
    """
    if path is None:
        return _digits()
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise NotFoundError(f"{os.fspath(path)}: no such file") from None
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: can't be read: {error.strerror or error}") from None
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error):
        raise InputError(f"{os.fspath(path)}: isn't a .npz of numbers") from None
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        return _split(*(arrays[key] for key in ("x_train", "y_train", "x_test", "y_test")))
    if not {"x", "y"} <= arrays.keys():
        raise InputError(
            f"{os.fspath(path)}: holds {sorted(arrays)}, neither x and y nor x_train, y_train, x_test, y_test"
        )
    x, y = arrays["x"], arrays["y"]
    held = min(_MOST_TEST, len(x) // 20) if test is None else test
    if not 0 < held < len(x):
        raise InputError(f"{os.fspath(path)}: {held} of {len(x)} examples can't be held out")
    return _split(x[:-held], y[:-held], x[-held:], y[-held:])


def _digits() -> Split:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError("scikit-learn", "comm") from None
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y, held = digits.data[order] * (255 / 16), digits.target[order], len(order) // _TEST_SHARE
    return _split(x[held:], y[held:], x[:held], y[:held])


def _split(
    x: NDArray[np.generic], y: NDArray[np.generic], test_x: NDArray[np.generic], test_y: NDArray[np.generic]
) -> Split:
    def flat(a: NDArray[np.generic]) -> NDArray[np.float32]:
        return np.ascontiguousarray(a.reshape(len(a), -1), np.float32) / np.float32(255)

    if len(x) != len(y) or len(test_x) != len(test_y):
        raise InputError(f"{len(x)} inputs with {len(y)} labels, {len(test_x)} test inputs with {len(test_y)}")
    return Split(flat(x), y.astype(np.int64), flat(test_x), test_y.astype(np.int64))
