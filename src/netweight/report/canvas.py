"""What every plot is drawn on: matplotlib without a display, in one style, to bytes. Needs the extra `report`."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#14181f", "#596273", "#dfe3ea"
STYLE: Final[Any] = {
    "font.size": 10.0,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12.0,
    "text.parse_math": False,  # a tensor's name may hold dollar signs
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def drawn(
    draw: Callable[[Figure], None],
    size: tuple[float, float] | None = None,
    *,
    kind: str = "png",
    dpi: int = 160,
    style: Any = STYLE,
) -> bytes:
    """What `draw` puts on a figure of `size` inches, as "png" or "svg"; the same drawing gives the same bytes.

    Raises MissingExtraError.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib", "report") from None
    with mpl.rc_context(style):
        figure = Figure(figsize=size, dpi=dpi, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": "netweight"})
    return out.getvalue()
