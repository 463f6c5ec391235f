"""CIFAR-10 images stored as JPEG, and the ResNets of He et al. for them, built from a state dict.

`cifar10_jpeg_q75.npz` holds JPEG streams end to end (`test_jpeg`, with `test_off` where each begins, and labels
`test_y`; `train_*` likewise). They are decoded once; the pixels are kept in the system's temporary folder.

The networks are "Deep residual learning for image recognition" (2015), section 4.2: 6 n + 2 layers, shortcuts without
parameters (option A: every other pixel, zeros for new channels); names as in akamaster/pytorch_resnet_cifar10, with or
without `module.` before them. They see pixels / 255 less ImageNet's mean over its standard deviation.

    python benchmarks/cifar.py RESNET.safetensors --cifar cifar10_jpeg_q75.npz [--moments OUT.safetensors --count 1000]

prints the accuracy, or writes what each layer sees of training images (calibration.py), by weight name.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from calibration import Moments, second_moments
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]
"""uint8 [n, 32, 32, 3], RGB."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 100


def cache_folder() -> Path:
    """Where decoded pixels are kept between runs."""
    folder = Path(tempfile.gettempdir()) / f"netweight-cifar-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def images(npz: Path, part: str, count: int) -> tuple[Pixels, NDArray[np.uint8]]:
    """`count` images of "train" or "test" as pixels [n, 32, 32, 3] and labels uint8 [n] in 0..9.

    They are taken at equal distances, since the file is sorted by label.
    """
    stat = npz.stat()
    key = hashlib.sha256(f"{npz.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    cached = cache_folder() / f"{key}-{part}-{count}-spread.npz"
    if not cached.exists():
        with np.load(npz) as archive:
            labels = archive[f"{part}_y"]
            chosen = np.arange(min(count, len(labels))) * len(labels) // min(count, len(labels))
            pixels, labels = _decoded(archive[f"{part}_jpeg"], archive[f"{part}_off"], chosen), labels[chosen]
        with tempfile.NamedTemporaryFile(dir=cached.parent, suffix=".npz", delete=False) as made:
            np.savez(made, pixels=pixels, labels=labels)
        os.replace(made.name, cached)
    with np.load(cached) as archive:
        return archive["pixels"], archive["labels"]


def _decoded(streams: NDArray[np.uint8], offsets: NDArray[np.int64], chosen: NDArray[np.int64]) -> Pixels:
    from PIL import Image

    blobs = (streams[offsets[k] : offsets[k + 1]].tobytes() for k in chosen)
    return np.stack([np.asarray(Image.open(io.BytesIO(blob)).convert("RGB")) for blob in blobs])


def batches(pixels: Pixels, size: int = BATCH) -> list[torch.Tensor]:
    """Normalised images as float32 [<= size, 3, 32, 32] each, channels last in memory."""
    import torch

    scaled = (pixels.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    x = torch.from_numpy(scaled).permute(0, 3, 1, 2)  # channels last: only the view is permuted
    return list(x.split(size))


def without_prefix(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors by name without `module.`, from arrays or tensors, as float32."""
    import torch

    return {name.removeprefix("module."): torch.as_tensor(value).float() for name, value in state.items()}


def resnet(state: Mapping[str, Any]) -> torch.nn.Module:
    """The network of a state dict, in eval mode; how deep it is, the names say. Raises KeyError, RuntimeError."""
    from torch import nn
    from torch.nn.functional import pad, relu

    class Block(nn.Module):
        def __init__(self, narrow: int, wide: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(wide)
            self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(wide)
            self.stride, self.new = stride, (wide - narrow) // 2

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = relu(self.bn1(self.conv1(x)), inplace=True)
            out = self.bn2(self.conv2(out))
            if self.new:
                x = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new, self.new))
            return relu(out.add_(x), inplace=True)

    class ResNet(nn.Module):
        def __init__(self, blocks: list[int]) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
            width = 16
            for k, count in enumerate(blocks):
                wide = 16 << k
                layers = [Block(width if j == 0 else wide, wide, 1 + (j == 0 and k > 0)) for j in range(count)]
                setattr(self, f"layer{k + 1}", nn.Sequential(*layers))
                width = wide
            self.linear = nn.Linear(width, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = relu(self.bn1(self.conv1(x)), inplace=True)
            out = self.layer3(self.layer2(self.layer1(out)))
            return self.linear(out.mean((2, 3)))

    tensors = without_prefix(state)
    blocks = [len({n.split(".")[1] for n in tensors if n.startswith(f"layer{k}.")}) for k in (1, 2, 3)]
    network = ResNet(blocks)
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    absent = [name for name in missing if not name.endswith("num_batches_tracked")]
    if absent or unexpected:
        raise KeyError(f"not a CIFAR ResNet: lacks {absent}, doesn't know {unexpected}")
    return network.eval()


def fused(network: torch.nn.Module) -> torch.nn.Module:
    """The same function with batch norms folded into convolutions and channels last: about what inference runs.

    Changes `network`.
    """
    import torch
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in list(network.modules()):
        for number in ("1", "2"):
            conv, norm = getattr(module, f"conv{number}", None), getattr(module, f"bn{number}", None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, f"conv{number}", fuse_conv_bn_eval(conv, norm))
                setattr(module, f"bn{number}", nn.Identity())
    return network.to(memory_format=torch.channels_last)


def accuracy(state: Mapping[str, Any], inputs: list[torch.Tensor], labels: NDArray[np.uint8]) -> float:
    """Share of images that the network `state` names rightly, in 0..1. Uses as many threads as torch is set to."""
    import torch

    network = fused(resnet(state))
    with torch.inference_mode():
        named = torch.cat([network(batch).argmax(1) for batch in inputs]).numpy()
    return float(np.mean(named == labels))


def moments(state: Mapping[str, Any], pixels: Pixels) -> Moments:
    """The second moments of every layer's inputs over these images, by the weights' names in `state`."""
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    return {prefix + name: h for name, h in second_moments(resnet(state), batches(pixels, 100)).items()}


def main() -> None:
    import torch
    from safetensors.numpy import load_file, save_file

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("--cifar", type=Path, required=True, help="cifar10_jpeg_q75.npz")
    parser.add_argument("--moments", type=Path, help="write second moments here instead of measuring the accuracy")
    parser.add_argument("--count", type=int, help="images to use (default: 10,000 test or 1,000 training images)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    state = load_file(options.network)
    if options.moments:
        save_file(moments(state, images(options.cifar, "train", options.count or 1000)[0]), options.moments)
    else:
        pixels, labels = images(options.cifar, "test", options.count or 10_000)
        print(f"{accuracy(state, batches(pixels), labels):.4f}")


if __name__ == "__main__":
    main()
