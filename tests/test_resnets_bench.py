"""What benchmarks/resnets.py stands on: the network, its data, the curve through noisy points, second moments."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = str(Path(__file__).parent.parent / "benchmarks")
torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def benchmark_modules(monkeypatch):
    """The scripts import one another by plain names."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("lossy_") or name in ("cifar", "resnets", "calibration"):
            del sys.modules[name]


def resnet8(seed=0):
    """The state of a random ResNet of three blocks, norms that do something included."""
    rng = np.random.default_rng(seed)
    state, width = {"conv1.weight": rng.normal(0, 0.3, (16, 3, 3, 3))}, 16
    norms = {"bn1": 16}
    for k in range(3):
        wide = 16 << k
        state[f"layer{k + 1}.0.conv1.weight"] = rng.normal(0, 0.1, (wide, width, 3, 3))
        state[f"layer{k + 1}.0.conv2.weight"] = rng.normal(0, 0.1, (wide, wide, 3, 3))
        norms |= {f"layer{k + 1}.0.bn{j}": wide for j in (1, 2)}
        width = wide
    for name, n in norms.items():
        state |= {f"{name}.weight": rng.uniform(0.5, 2, n), f"{name}.bias": rng.normal(0, 1, n)}
        state |= {f"{name}.running_mean": rng.normal(0, 1, n), f"{name}.running_var": rng.uniform(0.5, 2, n)}
    state |= {"linear.weight": rng.normal(0, 1, (10, 64)), "linear.bias": rng.normal(0, 1, 10)}
    return {name: array.astype(np.float32) for name, array in state.items()}


def test_folded_norms_change_nothing_and_prefixes_dont_matter():
    import cifar

    state, x = resnet8(), torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain = cifar.resnet(state)(x)
        folded = cifar.fused(cifar.resnet({f"module.{k}": v for k, v in state.items()}))(x)
    assert plain.std() > 0.1
    torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-4)


def test_shortcuts_are_option_a():
    """With convolutions of nothing the second stage is every other pixel, between as many channels of zeros."""
    import cifar

    state = {k: v * 0 if "layer" in k and "conv" in k else v for k, v in resnet8().items()}
    state = {k: v * 0 if k.startswith("layer") and k.endswith(("bias", "mean")) else v for k, v in state.items()}
    network, x = cifar.resnet(state), torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        first = torch.relu(network.bn1(network.conv1(x)))
        second = network.layer2(network.layer1(first))
    torch.testing.assert_close(second[:, 8:24], first[:, :, ::2, ::2])
    assert not second[:, :8].any()
    assert not second[:, 24:].any()


def test_what_is_no_resnet_is_refused():
    import cifar

    state = resnet8()
    del state["layer2.0.bn1.bias"]
    with pytest.raises(KeyError, match=r"layer2\.0\.bn1\.bias"):
        cifar.resnet(state)


def test_jpeg_streams_become_pixels_once(tmp_path, monkeypatch):
    import cifar
    from PIL import Image

    monkeypatch.setattr(cifar.tempfile, "gettempdir", lambda: str(tmp_path))
    colours, streams = [(200, 30, 30), (20, 200, 60), (10, 10, 220)], []
    for colour in colours:
        stream = io.BytesIO()
        Image.new("RGB", (32, 32), colour).save(stream, "JPEG", quality=95)
        streams.append(np.frombuffer(stream.getvalue(), np.uint8))
    offsets = np.cumsum([0, *map(len, streams)])
    np.savez(tmp_path / "d.npz", test_jpeg=np.concatenate(streams), test_off=offsets, test_y=np.uint8([3, 1, 4]))
    for _ in range(2):
        pixels, labels = cifar.images(tmp_path / "d.npz", "test", 2)
        assert labels.tolist() == [3, 1]
        assert np.abs(pixels.astype(int) - np.array(colours[:2])[:, None, None]).max() < 6
    assert len(list(cifar.cache_folder().iterdir())) == 1
    (batch,) = cifar.batches(pixels)
    assert batch.shape == (2, 3, 32, 32)
    assert batch[0, 0, 5, 5].item() == pytest.approx((pixels[0, 5, 5, 0] / 255 - 0.485) / 0.229, abs=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_the_curve_through_noisy_points_finds_the_bytes(noise):
    import resnets

    rng, original = np.random.default_rng(0), 0.83
    sizes = np.linspace(80_000, 150_000, 14)
    drops = 0.008 * np.exp(-(sizes - 110_000) / 12_000) + noise * rng.standard_normal(14)
    found = [
        resnets.Point("resnet20", "x", "", round(b), round(b), 1, 0.01, original - d, 10_000, "")
        for b, d in zip(sizes, drops, strict=True)
    ]
    expected = 110_000 + 12_000 * np.log(2)
    assert resnets.fitted(found, original, 0.004) == pytest.approx(expected, rel=0.04 if noise else 0.002)
    assert resnets.fitted(found[:2], original, 0.004) is None
    keep = resnets.smallest(found, original - 0.004)
    assert keep.accuracy >= original - 0.004
    assert all(p.accuracy < original - 0.004 for p in found if p.bytes < keep.bytes)


def test_new_points_replace_those_of_the_same_network_and_code():
    import resnets

    def point(network, code, size):
        return resnets.Point(network, code, "", size, size, 1, 0.1, 0.5, 1, "")

    old = [point("resnet20", "a", 1), point("resnet20", "b", 2), point("resnet32", "a", 3)]
    found = resnets.merged(old, [point("resnet20", "a", 5), point("resnet20", "a", 4)])
    assert [(p.network, p.code, p.bytes) for p in found] == [
        ("resnet20", "a", 5), ("resnet20", "a", 4), ("resnet20", "b", 2), ("resnet32", "a", 3),
    ]  # fmt: skip


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_integers_per_channel_are_off_by_half_a_step_at_most(bits):
    import resnets
    from lossy_parts import Setting

    w = np.random.default_rng(0).normal(0, np.geomspace(0.01, 10, 12)[:, None], (12, 45)).astype(np.float32)
    w = w.reshape(12, 5, 3, 3)
    peer = resnets.PerChannel()
    (back,) = peer.decode(peer.encode({"w": w}, Setting("", bits))).values()
    steps = np.abs(w).max(axis=(1, 2, 3), keepdims=True) / (2 ** (bits - 1) - 1)
    assert (np.abs(back - w) <= 0.502 * steps).all()


def test_second_moments_of_a_convolution_tell_the_error_of_its_outputs():
    from calibration import second_moments

    torch.manual_seed(0)
    shape = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, (3, 2), bias=False, **shape), torch.nn.ReLU())
    x = torch.randn(6, 3, 8, 7)
    moments = second_moments(network, [x[:4], x[4:]])["0.weight"]
    change = torch.randn_like(network[0].weight)
    outputs = torch.nn.functional.conv2d(x, change, **shape)
    flat = change.flatten(1).numpy()
    positions = outputs.numel() / outputs.shape[1]
    assert np.trace(flat @ moments @ flat.T) == pytest.approx(float(outputs.square().sum()) / positions, rel=1e-4)


def test_moments_that_arent_known_are_refused():
    from calibration import second_moments

    network = torch.nn.Conv2d(4, 4, 3, groups=2)
    with pytest.raises(ValueError, match="aren't known"):
        second_moments(network, [torch.randn(1, 4, 5, 5)])
