"""The demo: a small trained network is weighed, compressed, decompressed, and shown to be the same network."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import demo_accuracy, demo_network
from ..errors import GuaranteeError
from ..weights.archive import compress_file, decompress_file, load_file
from ..weights.bench import Progress
from ..weights.ladder import Weighing, weigh_file
from . import layout, numbers, tables


@dataclass(frozen=True)
class Story:
    """What was measured. Accuracies are shares of the held-out digits named rightly; digests are SHA-256."""

    weighing: Weighing
    receipt: dict[str, Any]
    digest_before: str
    digest_after: str
    accuracy_before: float
    accuracy_after: float

    @property
    def same_bytes(self) -> bool:
        return self.digest_before == self.digest_after

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = ("digest_before", "digest_after", "same_bytes", "accuracy_before", "accuracy_after")
        own = {name: getattr(self, name) for name in names}
        return {"weighing": self.weighing.to_dict(), "receipt": self.receipt} | own


def tell(progress: Progress | None = None) -> Story:
    """Do all of it, in a temporary folder. The accuracy after is that of tensors read from the archive itself.

    Raises GuaranteeError if other bytes or another accuracy came back.
    """
    from safetensors.numpy import load_file as load_plain

    original = demo_network()
    weighing = weigh_file(original, progress=progress)
    with tempfile.TemporaryDirectory(prefix="netweight-") as folder:
        archive, copy = Path(folder) / f"{original.name}.nw", Path(folder) / original.name
        receipt = compress_file(original, archive, effort="max").to_dict()  # now, while the archive is there to hash
        decompress_file(archive, copy)
        story = Story(
            weighing,
            receipt,
            hashlib.sha256(original.read_bytes()).hexdigest(),
            hashlib.sha256(copy.read_bytes()).hexdigest(),
            demo_accuracy(load_plain(original)),
            demo_accuracy(load_file(archive)),
        )
    if not story.same_bytes or story.accuracy_before != story.accuracy_after:
        raise GuaranteeError("the demo network came back as another one; please report this")
    return story


def text(story: Story, width: int) -> str:
    """The story for people."""
    name = Path(story.weighing.name).name
    original, coded = story.receipt["original_bytes"], story.receipt["archive_bytes"]
    sizes = f"{numbers.size(original)} -> {numbers.size(coded)}  ({numbers.saved(original, coded)} saved)"
    before, after = numbers.percent(story.accuracy_before), numbers.percent(story.accuracy_after)
    return "\n".join(
        [
            "A small network that reads handwritten digits ships with netweight. How much does it really weigh?",
            "",
            layout.render(tables.ladder_table(story.weighing), width),
            "",
            "Each row was encoded, decoded and compared; the bound is an entropy, no bytes.",
            "",
            f"  compress    {name}  {sizes}",
            "  decompress  the same bytes",
            f"              SHA-256 before  {story.digest_before}",
            f"              SHA-256 after   {story.digest_after}",
            f"  test        {before} of unseen digits right before, {after} with tensors from the archive",
            "",
            tables.headline(story.weighing),
            "Now yours:  netweight weigh model.safetensors",
        ]
    )
