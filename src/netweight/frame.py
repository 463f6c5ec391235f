"""The smallest self-describing unit: anyone can decode a frame.

frame   := "NWF" version(1) | codec id | config | spec | payload | checksum
text    := length varint, UTF-8          codec id and config (JSON, sorted keys; empty for {}) are texts
spec    := dtype number varint, tensors varint, for each: rank varint, sizes varint
payload := length varint, bytes
checksum:= low 4 bytes of XXH3-64 over all that precedes, little endian
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from .errors import ChecksumError, FormatError, InputError, TruncatedError, VersionError
from .spec import Spec, name_of, number_of
from .wire import Reader, Writer

if TYPE_CHECKING:
    from .codec import Codec

MAGIC: Final = b"NWF"
VERSION: Final = 1
_CHECKSUM_BYTES: Final = 4


def checksum(*parts: bytes | memoryview | NDArray[np.uint8]) -> bytes:
    """Four bytes that change when the bytes of `parts`, end to end, do (XXH3-64, low half)."""
    state = xxhash.xxh3_64()
    for part in parts:
        state.update(part)
    return (state.intdigest() & 0xFFFFFFFF).to_bytes(_CHECKSUM_BYTES, "little")


def write_spec(out: Writer, spec: Spec) -> None:
    out.varint(number_of(spec.dtype)).varint(len(spec.shapes))
    for shape in spec.shapes:
        out.varint(len(shape)).varints(shape)


def read_spec(source: Reader) -> Spec:
    name = name_of(source.varint())
    count = source.varint(limit=source.remaining)
    shapes = tuple(tuple(source.varints(source.varint(limit=64))) for _ in range(count))
    spec = Spec(name, shapes)
    _ = spec.nbytes  # raises for impossible shapes
    return spec


def config_text(codec: Codec) -> str:
    """A codec's config as canonical JSON; "" for an empty one."""
    config = codec.config()
    return json.dumps(config, sort_keys=True, separators=(",", ":")) if config else ""


def parse_config(text: str) -> dict[str, Any]:
    """The inverse of `config_text`. Raises FormatError."""
    try:
        config = json.loads(text) if text else {}
    except (ValueError, RecursionError):  # ValueError: bad syntax, or a number of thousands of digits
        raise FormatError("codec config is not JSON") from None
    if not isinstance(config, dict):
        raise FormatError("codec config is not a JSON object")
    return config


def pack(codec: Codec, data: NDArray[np.uint8], spec: Spec) -> bytes:
    """One frame around `codec.encode(data, spec)`. Raises InputError when the spec isn't that of the data."""
    if data.size != spec.nbytes:
        raise InputError(f"{data.size} bytes were given with a spec of {spec.nbytes}")
    out = Writer().raw(MAGIC + bytes([VERSION])).text(codec.id).text(config_text(codec))
    write_spec(out, spec)
    out.blob(codec.encode(data, spec))
    return out.raw(checksum(out.bytes())).bytes()


def _open(blob: bytes | memoryview) -> tuple[str, dict[str, Any], Spec, memoryview]:
    view = memoryview(blob)
    if len(view) < len(MAGIC) + 1 + _CHECKSUM_BYTES:
        raise TruncatedError(f"frame: only {len(view)} bytes")
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise FormatError("frame: this isn't a netweight frame (bad magic)")
    if view[len(MAGIC)] != VERSION:
        raise VersionError(f"frame: version {view[len(MAGIC)]}, this build reads {VERSION}; update netweight")
    if checksum(view[:-_CHECKSUM_BYTES]) != view[-_CHECKSUM_BYTES:]:
        raise ChecksumError("frame: checksum differs: the bytes were altered or cut")
    source = Reader(view[len(MAGIC) + 1 : -_CHECKSUM_BYTES], "frame")
    codec_id, config = source.text(), parse_config(source.text())
    spec = read_spec(source)
    payload = source.blob()
    source.end()
    return codec_id, config, spec, payload


def unpack(blob: bytes | memoryview) -> tuple[NDArray[np.uint8], Spec]:
    """Decode a frame with the codec that it names. Raises FormatError and its kin."""
    from .registry import create

    codec_id, config, spec, payload = _open(blob)
    return create(codec_id, config).decode(payload, spec), spec


def unpack_with(codec: Codec, blob: bytes | memoryview) -> tuple[NDArray[np.uint8], Spec]:
    """Decode a frame with `codec`, for codecs that hold what the frame can't (a base checkpoint, a model)."""
    codec_id, config, spec, payload = _open(blob)
    if codec_id != codec.id or config != codec.config():
        raise FormatError(f"frame: written by {codec_id} {config}, not by {codec.id} {codec.config()}")
    return codec.decode(payload, spec), spec
