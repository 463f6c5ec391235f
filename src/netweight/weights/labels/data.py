"""Labelled pictures from a file."""

from __future__ import annotations

import os
import zipfile

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, NotFoundError


def read_labelled(
    path: str | os.PathLike[str], limit: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first `limit` pictures x (uint8 [n, height, width]) and labels y (whole numbers [n]) of an .npz file.

    Raises NotFoundError, InputError.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            pictures, labels = archive["x"][:limit], archive["y"][:limit]
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except KeyError:
        raise InputError(f"{path}: must hold arrays x (pictures) and y (labels)") from None
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, TypeError):
        raise InputError(f"{path}: isn't an .npz file of plain arrays") from None
    if (
        pictures.dtype != np.uint8
        or pictures.ndim != 3
        or labels.dtype.kind not in "iu"
        or labels.shape != pictures.shape[:1]
    ):
        raise InputError(
            f"{path}: x must be uint8 [n, height, width] and y n whole numbers, not {pictures.dtype} {list(pictures.shape)} "
            f"and {labels.dtype} {list(labels.shape)}"
        )
    return pictures, labels.astype(np.int64)
