"""Throw broken bodies at the trellis decoder: the right number of weights or a FormatError must come out, soon.

    python benchmarks/fuzz_trellis.py --seconds 30

With atheris installed the mutations follow coverage; without it they are random. A failing input is written to
`crash-trellis.bin` in the current folder: its first byte says which of the shapes below it was for.
"""

from __future__ import annotations

import fuzzing


def shapes() -> list[list]:
    from netweight.weights.coders.scales import Shape

    return [
        [Shape(8, 24, 1)],
        [Shape(90, 60, 1)],
        [Shape(2, 9, 9), Shape(1, 5, 1)],
        [Shape(80, 5, 13)],
        [Shape(0, 3, 1)],
    ]


def seeds() -> list[bytes]:
    """A body for each shape and setting, after the number of the shape."""
    import numpy as np

    from netweight.weights.coders import mixed_indices, trellis, trellis_points
    from netweight.weights.coders.trellis import Settings

    out = []
    for number, wanted in enumerate(shapes()):
        values = np.random.default_rng(number).normal(size=sum(s.rows * s.columns for s in wanted)).astype(np.float32)
        for states, step in ((1, 0.5), (8, 0.02), (64, 1.2), (256, 1e-4)):
            made = trellis.encode(values, wanted, Settings((step,), states))
            assert made is not None
            out.append(bytes([number]) + made[0])
            indices = np.rint(values / np.float32(step)).astype(np.int32)
            payload, coded = mixed_indices.encode(indices, wanted, states)
            offsets = trellis_points.fit(2 * indices + np.float32(0.3), indices, coded.places, mixed_indices.CLASSES)
            steps = np.array([step], np.float32)
            mixed, _ = trellis.write_mixed(payload, coded, offsets, states, wanted, steps, down=False)
            out.append(bytes([number]) + mixed)
    return out


def check(data: bytes) -> None:
    """Raises whatever is wrong with the way `data` is decoded."""
    from netweight.errors import FormatError
    from netweight.weights.coders import trellis

    if not data:
        return
    wanted = shapes()[data[0] % len(shapes())]
    try:
        decoded = trellis.decode(data[1:], wanted)
    except FormatError:
        return
    if decoded.shape != (sum(s.rows * s.columns for s in wanted),):
        raise AssertionError(f"decoded to shape {decoded.shape}")


if __name__ == "__main__":
    fuzzing.tagged(__doc__, "trellis", seeds, check)
