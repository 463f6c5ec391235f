"""Our best at a given error: what to use unless something else is needed (speed, a fixed size, sums)."""

from __future__ import annotations

from ..compressor import Compressor


def best(error: float, *, unbiased: bool = False) -> Compressor:
    """The strongest compressor with E ||C(x) - x||^2 <= `error` ||x||^2: close to the limit at every rate.

    Unbiased: `DitheredTrellis`, omega <= error, for any error over 0; both sides need the seed. Else `TrellisCoded`, alpha = error in
    (0, 1), surely and for every vector; nothing is shared, and vectors that aren't Gaussian take fewer bits. Raises InputError.
    """
    if unbiased:
        from .trellis import DitheredTrellis

        return DitheredTrellis(error)
    from .trellis_coded import TrellisCoded

    return TrellisCoded(error)
