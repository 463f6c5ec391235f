"""What users' programs raise, as they should see it."""

from __future__ import annotations

import importlib.util
import traceback


def user_traceback(error: BaseException, *ours: str) -> str:
    """The traceback without the frames of the files `ours` and of importlib, which tell a user nothing."""
    hidden = (*ours, "<frozen importlib", importlib.util.__file__)
    described = traceback.TracebackException.from_exception(error)
    kept = [f for f in described.stack if not f.filename.startswith(hidden)]
    described.stack = traceback.StackSummary.from_list(kept)
    return "".join(described.format())
