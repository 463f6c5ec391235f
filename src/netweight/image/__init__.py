"""Images as small networks: lossy codes whose bits are real and whose decoders are exact.

grid/    pyramids of latents under context networks, trained to the image: the default
siren/   coordinate networks: COIN, and SIREN with quantisation-aware training
flat     one colour

    from netweight.image import encode, decode

    data = encode(pixels, bpp=0.15)      # uint8 [h, w], [h, w, 3], or with alpha as the last of 2 or 4 channels
    pixels = decode(data)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._lazy import exporter

if TYPE_CHECKING:
    from .api import Progress, decode, decode_picture, encode, encode_picture
    from .container import begins_as_image, parse
    from .pictures import Picture, is_picture, read, to_png

_HOME_OF: Final = {
    "Picture": "pictures",
    "Progress": "api",
    "begins_as_image": "container",
    "decode": "api",
    "decode_picture": "api",
    "encode": "api",
    "encode_picture": "api",
    "is_picture": "pictures",
    "parse": "container",
    "read": "pictures",
    "to_png": "pictures",
}

__all__ = [
    "Picture",
    "Progress",
    "begins_as_image",
    "decode",
    "decode_picture",
    "encode",
    "encode_picture",
    "is_picture",
    "parse",
    "read",
    "to_png",
]


__getattr__ = exporter(__name__, _HOME_OF)
