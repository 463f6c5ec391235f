"""The grid codec: exact integers, steering, interruption, and what training is worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from image_scenes import scene
from netweight.errors import FormatError, InputError
from netweight.image import Progress, decode, encode
from netweight.image.grid import (
    analysis,
    design,
    haar,
    kernels,
    laplace,
    model,
    networks,
    quantise,
    refine,
    search,
    start,
    stream,
    surrogate,
    tile,
)
from netweight.image.metrics import psnr

torch.set_num_threads(1)


def test_integer_layers_are_the_float_ones_rounded() -> None:
    """The whole decoder in integers against torch, on the shipped start: pixels within a grey level or two."""
    known, picture = start.load(), scene(64, 96)
    trainer = refine.prepare(known, picture, search.Goal(quality=40))
    coded = trainer.code()
    with torch.no_grad():
        got = model.synthesise(
            trainer.weights, [y.round() for y in trainer.latents], search.full(trainer.quality), 64, 96
        )
        bits = float(
            sum(
                model.bits(y.round(), m, s).sum()
                for y, m, s in zip(trainer.latents, got.locations, got.scales, strict=True)
            )
        )
    near = np.abs(got.pixels[0].permute(1, 2, 0).clamp(0, 255).numpy() - coded.pixels)
    assert near.max() < 4
    assert near.mean() < 0.5
    assert coded.bpp * trainer.area == pytest.approx(bits, rel=0.03, abs=250)


def test_convolutions_against_numpy() -> None:
    """Each kernel against sums over 64-bit integers written out."""
    rng = np.random.default_rng(0)
    planes = kernels.make_planes(5, 6, 9)
    planes[:, 1:-1, 1:-1] = rng.integers(-9999, 9999, (5, 6, 9))
    weights, bias = rng.integers(-99, 99, (3, 5, 9)).astype(np.int32), rng.integers(-999, 999, 3).astype(np.int32)
    out = kernels.make_planes(3, 6, 9)
    kernels.convolve(planes, weights, bias, 5, -kernels.FULL, out)
    wide, total = planes.astype(np.int64), np.zeros((3, 6, 9), np.int64) + bias[:, None, None]
    for k in range(9):
        total += np.einsum(
            "oc,cyx->oyx", weights[..., k].astype(np.int64), wide[:, k // 3 : k // 3 + 6, k % 3 : k % 3 + 9]
        )
    assert np.array_equal(out[:, 1:-1, 1:-1], np.clip((total + 16) >> 5, -kernels.FULL, kernels.FULL))
    assert not out[:, 0].any()
    assert not out[:, :, -1].any()
    up = rng.integers(-99, 99, (5, 2, 4, 4)).astype(np.int32)
    for rows, columns in ((12, 18), (11, 17)):
        fine = kernels.make_planes(2, rows, columns)
        kernels.upsample(planes, up.reshape(5, 2, 16), 3, fine)
        floats = (
            torch.from_numpy(planes[None, :, 1:-1, 1:-1].astype(np.float64)),
            torch.from_numpy(up.astype(np.float64)),
        )
        exact = torch.nn.functional.conv_transpose2d(*floats, stride=2, padding=1)[0, :, :rows, :columns].numpy()
        assert np.array_equal(
            fine[:, 1:-1, 1:-1], np.clip((exact.astype(np.int64) + 4) >> 3, -kernels.FULL, kernels.FULL)
        )


def test_laplace_masses_sum_to_one_and_code_anything() -> None:
    for location, scale in ((0, 0), (77, -40), (-300, 60), (900_000, laplace.MOST), (13, laplace.LEAST)):
        below = np.array([laplace._below(k, location, scale) for k in range(-design.LARGEST, design.LARGEST + 2)])
        assert below[0] == 0
        assert below[-1] == 1 << laplace.TOTAL
        assert (np.diff(below) > 0).all()
    masses = np.diff([laplace._below(k, 128, 16) for k in range(-30, 32)]) / 2**laplace.TOTAL
    b, edges = 2.0, np.arange(-30, 32) - 0.5 - 0.5
    expected = np.diff(
        np.where(edges < 0, 0.5 * np.exp(np.minimum(edges, 0) / b), 1 - 0.5 * np.exp(-np.maximum(edges, 0) / b))
    )
    assert np.abs(masses - expected).max() < 2e-3
    values = np.array([0, 1, -1, 4095, -4095, 17, 0, 0], np.int32)
    scales = np.array([0, -80, -80, 0, 144, 5, -80, 144], np.int16)
    assert np.array_equal(laplace.decode(laplace.encode(values, scales), scales), values)


def test_weights_that_could_overflow_are_refused() -> None:
    known = start.load()
    for name in ("0.residual1", "2.own", "1.out", "colour", "3.gain"):
        values = dict(known.values)
        values[name] = np.full_like(values[name], 1 << 19)
        with pytest.raises(FormatError):
            networks.build(values, known.fractions, 30)


def test_haar_networks_reconstruct(monkeypatch: pytest.MonkeyPatch) -> None:
    """What offline training begins with is a transform: without the random weights beside, synthesis inverts analysis.

    Of grey, since the finest level has no latents for the details of colours.
    """
    monkeypatch.setattr(haar, "_SMALL", 0.0)
    decoder, encoder = haar.decoder(0), haar.encoder(1)
    picture = search.to_tensor(np.repeat(scene(32, 64)[..., :1], 3, 2))
    quality = search.full(40)
    got = model.synthesise(decoder, analysis.analyse(encoder, decoder, picture, quality), quality, 32, 64)
    assert float((got.pixels - picture).abs().max()) < 0.01


def loss(data: bytes, picture: np.ndarray, quality: float) -> float:
    """What training minimises: bits a pixel and lambda times the squared error, of a whole file."""
    worth = design.lambda_of(quality / 100 * (design.QUALITIES - 1))
    area = picture.shape[0] * picture.shape[1]
    return 8 * len(data) / area + worth * float(np.square(decode(data).astype(float) - picture).mean())


def test_training_gains_and_hits_its_goals() -> None:
    picture = scene(64, 80)
    plain, trained = (encode(picture, quality=40, steps=n) for n in (0, 50))
    assert loss(trained, picture, 40) < loss(plain, picture, 40)
    at_rate = encode(picture, bpp=1.0, steps=40)
    assert 8 * len(at_rate) / (64 * 80) == pytest.approx(1.0, rel=0.05)
    assert psnr(decode(encode(picture, psnr=33.0, steps=40)), picture) == pytest.approx(33.0, abs=0.3)


def test_interruption_keeps_the_best_so_far() -> None:
    seen: list[Progress] = []

    def impatient(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 2:
            raise KeyboardInterrupt

    data = encode(scene(40, 40), quality=40, steps=400, progress=impatient)
    assert len(seen) == 2
    assert 0 == seen[0].share < seen[1].share < 0.2
    # early in the noise latents can be worse than at first; whichever is better is kept
    assert loss(data, scene(40, 40), 40) <= 1.01 * loss(encode(scene(40, 40), quality=40, steps=0), scene(40, 40), 40)


def test_adapted_networks_are_settled_or_dropped() -> None:
    """Differences that are kept pay for themselves; a tile says which it has."""
    trainer = refine.prepare(start.load(), scene(48, 48, 7), search.Goal(quality=50), which=1)
    for name in stream.names_of(1):
        if networks.kind_of(name).startswith("bias"):
            trainer.weights[name] = trainer.weights[name] + 50 * trainer.units[name]
    refine.settle_weights(trainer)
    assert trainer.differences.which == 0
    kept = stream.Differences(1, 2, {n: np.zeros(networks.shapes()[n], np.int64) for n in stream.names_of(1)})
    kept.values["colour"][0, 0, 0, 0] = -3
    networks_of, latents = stream.read_tile(memoryview(stream.write_tile(9, kept, b"xy")), start.load())
    moved = networks_of.colour[0, 0, 0] - start.load().values["colour"][0, 0, 0, 0]
    assert (moved, bytes(latents)) == (-12, b"xy")


def test_goals_that_cannot_be() -> None:
    for wrong in (
        {"bpp": 1, "psnr": 30},
        {"bpp": -1},
        {"psnr": 300},
        {"quality": 101},
        {"effort": "great"},
        {"bpp": 1e-4},
    ):
        with pytest.raises(InputError):
            encode(scene(8, 8), **wrong)


def test_grey_is_one_channel_and_odd_sizes_work() -> None:
    for height, width in ((1, 5), (7, 1), (33, 18)):
        grey = scene(height, width)[..., 1].copy()
        found = decode(encode(grey, quality=70, steps=4))
        assert found.shape == grey.shape


def test_a_start_is_written_and_read() -> None:
    known = start.load()
    weights = quantise.floats(known.values, known.fractions)
    again = start.parse(start.write(quantise.integers(weights, known.fractions), quantise.integers(known.analysis)))
    assert again.hash == known.hash
    assert all(np.array_equal(again.values[n], v) for n, v in known.values.items())


def test_surrogates_of_rounding() -> None:
    y = torch.linspace(-3, 3, 601)
    assert float((surrogate.soft_round(y, 5.0) - y).abs().max()) < 0.01
    hard = surrogate.soft_round(y, 0.02)
    away = ((y - 0.5) - (y - 0.5).round()).abs() > 0.1
    assert float((hard - y.round()).abs()[away].max()) < 0.01
    noise = [surrogate.kumaraswamy(torch.zeros(20000), a) for a in (1.0, 2.0)]
    assert all(float(n.abs().max()) <= 0.5 for n in noise)
    assert float(noise[1].std()) < float(noise[0].std())


def test_streams_hold_only_what_encoders_write() -> None:
    built = networks.build(start.load().values, start.load().fractions, 30)
    latents = [np.zeros((k, *size), np.int32) for k, size in zip(design.LATENTS, design.sizes(20, 20), strict=True)]
    latents[1][2, 1, 1] = -5
    data, pixels = tile.encode(built, latents, 20, 20)
    assert np.array_equal(tile.decode(built, data, 20, 20), pixels)
    for bad in (data + b"\0\0\0\0\0\0\0\0\0", b"\xff" * 200):
        with pytest.raises(FormatError):
            tile.decode(built, bad, 20, 20)
