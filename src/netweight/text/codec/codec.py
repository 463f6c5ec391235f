"""The language-model code behind the protocol of all codecs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...codec import LOSSLESS, ConfigCodec
from ...errors import BaseMismatchError, FormatError
from ...source import BytesSource
from ...spec import Spec
from .model_block import Model
from .reader import TextFile
from .settings import effort_named
from .writer import compress_stream

_CHUNK_BYTES = 1 << 20


class LanguageModelCodec(ConfigCodec):
    """Any bytes, coded under a language model where they are text.

    `model`: a model, the path of one (a GGUF file, a Hugging Face directory), or None for SmolLM2-135M; `digest`, if given,
    is the SHA-256 in hex that it must have. `effort`: "fast", "balanced" or "max".
    A payload is what `netweight compress` writes to a file. A config has the digest, and the model's path if it was given
    by one: whoever decodes a frame needs the same model there (`frame.unpack_with` takes it from anywhere).
    Raises InputError, NotFoundError, MissingExtraError, BaseMismatchError.
    """

    id = "netweight.text.lm"
    guarantee = LOSSLESS

    def __init__(
        self, model: Model | str | None = None, effort: str = "balanced", threads: int = 0, digest: str | None = None
    ) -> None:
        effort_named(effort)
        self.effort, self._threads, self._digest = effort, threads, digest
        self._given = model
        self._path = model if isinstance(model, str) else None

    @property
    def model(self) -> Model:
        """Loaded when it is first used."""
        if self._given is None or isinstance(self._given, str):
            from ..model import load

            self._given = load(self._given, threads=self._threads)
        if self._digest is not None and self._given.digest.hex() != self._digest:
            raise BaseMismatchError(f"the model {self._given.name!r} has the digest {self._given.digest.hex()}")
        return self._given

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"digest": self.model.digest.hex(), "effort": self.effort}
        return config if self._path is None else config | {"model": self._path}

    def receiver(self) -> dict[str, str]:
        """The model that a decoder needs."""
        return {"language model": f"{self.model.name} {self.model.digest.hex()}"}

    def encode(self, data: NDArray[np.uint8], spec: Spec) -> bytes:  # noqa: ARG002  bytes are bytes
        parts: list[bytes] = []
        compress_stream(_chunks(data), parts.append, model=self.model, effort=self.effort)
        return b"".join(parts)

    def decode(self, payload: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
        file = TextFile(BytesSource(payload, "payload"), lambda: self.model)
        if file.size != spec.nbytes:
            raise FormatError(f"{self.id}: the payload holds {file.size} bytes, {spec.nbytes} were expected")
        try:
            return np.frombuffer(b"".join(file.pieces()), np.uint8)
        except BaseMismatchError as error:
            raise FormatError(str(error)) from None


def _chunks(data: NDArray[np.uint8]) -> Iterator[memoryview]:
    for at in range(0, data.size, _CHUNK_BYTES):
        yield data[at : at + _CHUNK_BYTES].data
