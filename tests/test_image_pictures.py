"""Picture files in and out: orientation, profiles, alpha, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_scenes import scene
from netweight.errors import InputError, NotFoundError, UnsupportedError
from netweight.image import is_picture, pictures, read, to_png


def stored(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation: int) -> None:
    """What comes out is what a viewer shows, and tells no viewer to turn it again."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "maker"
    data = stored(Image.fromarray(scene(8, 12)), exif=exif)
    found = pictures.parse(data)
    swapped = orientation >= 5
    assert found.pixels.shape == ((12, 8, 3) if swapped else (8, 12, 3))
    assert sorted(found.pixels.reshape(-1, 3).tolist()) == sorted(scene(8, 12).reshape(-1, 3).tolist())
    again = Image.open(io.BytesIO(to_png(found)))
    assert again.getexif().get(0x0112, 1) == 1
    assert again.getexif().get(0x010F) == "maker"
    assert np.array_equal(np.asarray(again), found.pixels)


def test_profile_is_kept() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = pictures.parse(stored(Image.fromarray(scene(4, 4)), icc_profile=profile))
    assert found.icc == profile
    assert Image.open(io.BytesIO(to_png(found))).info["icc_profile"] == profile


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_pixels_come_back_through_png(mode: str) -> None:
    image = Image.fromarray(scene(10, 7)).convert("RGBA")
    image.putalpha(Image.fromarray(scene(10, 7, 1)[..., 0]))
    image = image.convert("RGB").convert("P") if mode == "P" else image.convert(mode)
    found = pictures.parse(stored(image))
    assert (found.alpha is not None) == (mode in {"LA", "RGBA"})
    assert found.pixels.ndim == (2 if mode in {"L", "LA", "1"} else 3)
    again = pictures.parse(to_png(found))
    assert np.array_equal(again.pixels, found.pixels)
    assert (again.alpha is None) == (found.alpha is None)


def test_opaque_alpha_is_no_alpha() -> None:
    assert pictures.parse(stored(Image.fromarray(scene(5, 5)).convert("RGBA"))).alpha is None


def test_what_is_refused_says_why() -> None:
    deep = Image.fromarray(np.zeros((4, 4), np.uint16))
    with pytest.raises(UnsupportedError, match="16-bit"):
        pictures.parse(stored(deep))
    with pytest.raises(UnsupportedError, match="floating"):
        pictures.parse(stored(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))
    frames = [Image.fromarray(scene(4, 4, k)) for k in range(3)]
    with pytest.raises(UnsupportedError, match="3 frames"):
        pictures.parse(stored(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    with pytest.raises(UnsupportedError, match="too many"):
        pictures.parse(stored(Image.new("1", (20000, 2))))
    with pytest.raises(InputError, match="isn't a picture"):
        pictures.parse(b"no picture")
    whole = stored(Image.fromarray(scene(40, 40)))
    with pytest.raises(InputError, match="isn't a picture"):
        pictures.parse(whole[: len(whole) // 2])


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.PNG"
    path.write_bytes(stored(Image.fromarray(scene(6, 6))))
    assert is_picture(path)
    assert np.array_equal(read(path).pixels, scene(6, 6))
    (tmp_path / "b.png").write_bytes(b"text")
    assert not is_picture(tmp_path / "b.png")
    assert not is_picture(tmp_path / "missing.png")
    with pytest.raises(NotFoundError):
        read(tmp_path / "missing.png")
