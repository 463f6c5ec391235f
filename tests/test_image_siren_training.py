"""How networks are fitted to pictures, quantised and trained on with the rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netweight.errors import InputError
from netweight.image import siren
from netweight.image.metrics import psnr
from netweight.image.siren import aware, coin, encoder, quantisation, training
from netweight.image.siren.integers import Shape
from netweight.image.siren.network import Network, Picture, initial
from netweight.image.siren.payload import origin, step_of, units
from netweight.image.siren.quantisation import Grid
from netweight.image.siren.starts import FREQUENCIES, LAYERS, WIDTHS, load_start

Pixels = NDArray[np.uint8]


def picture(height: int = 48, width: int = 64) -> Pixels:
    """Soft blobs of colour, an edge and a gradient."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    blob = np.exp(-((x - 0.3) ** 2 + (y - 0.4) ** 2) * 30)
    planes = [60 + 150 * blob + 30 * x, 200 - 120 * y - 60 * blob, np.where(x + y > 0.9, 180, 70) + 20 * np.sin(9 * x)]
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trained() -> encoder.Trained:
    return encoder.train(picture(), encoder.Settings(12, 150, 0, start=False))


@pytest.mark.parametrize("shape", [Shape(3, 5, 3, 4), Shape(1, 6, 1, 0)])
def test_gradients_are_those_of_finite_differences(shape: Shape) -> None:
    pixels, network = picture(20, 33)[..., : shape.channels], Network(shape)
    fitted, params = Picture(np.ascontiguousarray(pixels), shape.frequencies), initial(shape, 1)
    rows, columns = slice(1, None, 2), slice(0, None, 3)
    loss, gradients = network.gradients(params, fitted, rows, columns)
    assert loss == pytest.approx(network.error(params, fitted, rows, columns), rel=1e-5)
    rng, step = np.random.default_rng(2), np.float32(1e-3)
    for k, p in enumerate(params):
        way = rng.standard_normal(p.shape).astype(np.float32)
        ends = [
            network.error([*params[:k], p + s * step * way, *params[k + 1 :]], fitted, rows, columns) for s in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / (2 * float(step))
        assert slope == pytest.approx(float((gradients[k] * way).sum()), rel=0.03, abs=1e-3)


def test_lattices_cover_the_picture_evenly() -> None:
    fitted = Picture(np.zeros((96, 150, 1), np.uint8), 0)
    seen = np.zeros((96, 150))
    for rows, columns in training.lattices(fitted, 400, 0):
        seen[rows, columns] += 1
    assert seen.min() > 0.3 * seen.mean()
    assert seen.sum() / 400 < 1.4 * 96 * 150


def test_a_burst_goes_back() -> None:
    """Far too high a rate must not leave a network that is worse than a flat picture."""
    shape, fitted = Shape(3, 8, 3, 4), Picture(picture(), 4)
    network, params = Network(shape), initial(shape, 0)
    training.fit(network, params, fitted, training.Plan(150, rate=1.0, decay=0))
    assert network.error(params, fitted) < 3 * fitted.levels.var()


@pytest.mark.parametrize("width", WIDTHS)
def test_few_steps_from_the_start_see_more_than_many_from_random(width: int) -> None:
    """Five times as many, on a picture that nobody photographed."""
    shape = Shape(3, width, LAYERS, FREQUENCIES)
    network, start = Network(shape), load_start(shape)
    assert start is not None
    fitted = Picture(picture(96, 128), FREQUENCIES)
    params = training.descend(network, start.parameters, fitted, start.rates, 3)
    random = initial(shape, 0)
    training.fit(network, random, fitted, training.Plan(15))
    assert network.error(params, fitted) < network.error(random, fitted)


def test_a_descent_that_makes_it_worse_is_taken_back() -> None:
    shape, fitted = Shape(3, 8, 3, 4), Picture(picture(), 4)
    network, params = Network(shape), initial(shape, 0)
    wild = training.descend(network, params, fitted, [np.full_like(p, 50) for p in params], 3)
    assert all(map(np.array_equal, wild, params))


def test_steps_share_out_the_error(trained: encoder.Trained) -> None:
    """At the steps of c, quantising costs about c a parameter in every tensor."""
    sensitive = quantisation.sensitivities(trained.network, trained.params, trained.picture)
    shape, c = trained.network.shape, 1e-8
    for level, s, unit, (rows, columns) in zip(
        quantisation.levels_for(shape, sensitive, c), sensitive, units(shape), shape.sizes, strict=True
    ):
        assert s * (step_of(level) / unit) ** 2 == pytest.approx(c * rows * columns, rel=0.35)


def test_floats_and_multiples_agree(trained: encoder.Trained) -> None:
    grid = trained.grid(tuple([60, 190] * LAYERS + [24, 150]))
    multiples = grid.multiples(trained.params)
    for p, q, step in zip(trained.params, grid.floats(multiples), grid.steps(), strict=True):
        assert np.abs(p - q).max() <= 0.501 * step + 1e-5
    assert all(map(np.array_equal, grid.multiples(grid.floats(multiples)), multiples))
    moved = aware.confined(trained.params, [k + 1 for k in multiples], grid)
    assert all(np.array_equal(k + 1, m) for k, m in zip(multiples, grid.multiples(moved), strict=True))


def test_adaround_changes_outputs_less_than_rounding_to_nearest() -> None:
    rng = np.random.default_rng(0)
    shape = Shape(3, 16, 1, 4)
    inputs = rng.standard_normal((16, 3)) @ rng.standard_normal((3, 2000)) + 0.2 * rng.standard_normal((16, 2000))
    gram = (inputs @ inputs.T / 2000).astype(np.float32)
    places = rng.normal(0, 3, (24, 16))
    rounded = quantisation._rounded(places, gram, 1000)
    cost = [float(np.sum((q - places) @ gram * (q - places))) for q in (rounded, np.rint(places))]
    assert cost[0] < 0.5 * cost[1]
    assert np.abs(rounded - places).max() < 1.001
    assert shape.count  # every weight went up or down, none further


def test_the_pipeline_meets_the_size_and_each_part_helps(trained: encoder.Trained) -> None:
    size = 500.0
    whole = encoder.Settings(12, 0, 75, start=False)
    bare = encoder.Settings(12, 0, 0, start=False, adaround=False)
    reached = {}
    for name, settings in (("whole", whole), ("bare", bare)):
        payload = encoder.quantise(trained, size, settings)
        assert 0.8 * size < len(payload) <= size
        reached[name] = psnr(picture(), encoder.decoded(payload, 48, 64, 3))
    assert reached["whole"] > reached["bare"] + 0.2


def test_encode_keeps_to_the_rate_and_beats_one_colour() -> None:
    pixels, seen = picture(), list[Any]()
    settings = encoder.Settings(12, 100, 50, start=False)
    payload = siren.encode(pixels, bpp=1.8, settings=settings, progress=seen.append)
    assert 8 * len(payload) <= 1.8 * 48 * 64
    flat = psnr(pixels, np.broadcast_to(np.rint(pixels.mean((0, 1))), pixels.shape).astype(np.uint8))
    assert psnr(pixels, siren.decode(payload, 48, 64, 3)) > flat + 5
    assert [p.share for p in seen] == sorted(p.share for p in seen)
    assert seen[-1].bpp == pytest.approx(1.8, rel=0.3)


def test_grey() -> None:
    grey = np.ascontiguousarray(picture()[..., 1])
    payload = siren.encode(grey, bpp=1.5, settings=encoder.Settings(8, 100, 30, start=False))
    decoded = siren.decode(payload, 48, 64, 1)
    assert decoded.shape == grey.shape
    assert psnr(grey, decoded) > 24


def test_an_interruption_keeps_the_best_so_far() -> None:
    pixels, told = picture(), 0

    def interrupt(_progress: Any) -> None:
        nonlocal told
        told += 1
        if told == 3:
            raise KeyboardInterrupt

    payload = siren.encode(pixels, bpp=1.8, settings=encoder.Settings(8, 5000, 5000, start=False), progress=interrupt)
    assert told == 3
    assert psnr(pixels, siren.decode(payload, 48, 64, 3)) > 15


def test_a_wanted_psnr_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_FIRST_BPP", 1.5)
    monkeypatch.setattr(encoder, "_ROUNDS", 3)
    settings = encoder.Settings(8, 60, 10, start=False)
    payload = siren.encode(picture(), psnr=17.0, settings=settings)
    assert psnr(picture(), siren.decode(payload, 48, 64, 3)) >= 17.0


def test_coin_takes_what_its_halves_take() -> None:
    assert coin.shape_for(3, 0.16 * 768 * 512) == Shape(3, 30, 5, 0)
    assert coin.shape_for(3, 0.075 * 768 * 512) == Shape(3, 20, 5, 0)
    assert coin.shape_for(3, 0.305 * 768 * 512) == Shape(3, 28, 10, 0)
    payload = coin.encode(picture(16, 24), bpp=20, effort="fast")
    assert len(payload) == 2 + 2 * coin.shape_for(3, 20 * 16 * 24).count
    assert psnr(picture(16, 24), coin.decode(payload, 16, 24, 3)) > 20


def test_best_keeps_what_fits() -> None:
    best = aware.Best(10)
    best.see(0.1, b"x" * 30)
    best.see(0.2, b"x" * 20)
    assert best.finalists() == [b"x" * 20]
    for error, size in ((0.5, 9), (0.3, 10), (0.4, 8), (0.6, 7), (0.01, 11)):
        best.see(error, b"y" * size)
    assert [len(p) for p in best.finalists()] == [10, 8, 9]


def test_bad_wishes_are_refused() -> None:
    for wish in ({"bpp": -1.0}, {"bpp": 0.1, "psnr": 30.0}, {"psnr": float("nan")}, {"bpp": 1.0, "effort": "huge"}):
        with pytest.raises(InputError):
            siren.encode(picture(), **wish)
    with pytest.raises(InputError, match="too few"):
        siren.encode(picture(16, 16), bpp=0.05, settings=encoder.Settings(8, 5, 0, start=False))
    with pytest.raises(InputError, match="too few"):
        coin.encode(picture(4, 4), bpp=1)


def test_the_base_of_a_grid_without_a_start_is_grey() -> None:
    shape = Shape(3, 4, 2, 1)
    grid = Grid(shape, tuple([60] * 6), origin(shape), b"")
    nothing = grid.floats([np.zeros(size, np.int32) for size in shape.sizes])
    assert all(not p.any() for p in nothing)
