"""Hugging Face models from archives: `from_pretrained`, `tokenizer`. Needs the extra `hf`.

    netweight compress smollm2/                                # config.json, tokenizer, model.safetensors
    model = netweight.hf.from_pretrained("smollm2.nw")
    tokenizer = netweight.hf.tokenizer("smollm2.nw")

Nothing is fetched from a network, and no code that an archive or its configuration names is run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import InputError, MissingExtraError, NetweightError, UnsupportedError
from .weights.archive.pool import ordered_map, thread_count
from .weights.as_torch import from_numpy, library
from .weights.checkpoint import CONFIG, Checkpoint, open_checkpoint

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

PathLike = str | os.PathLike[str]

_OURS: Final = ("config", "state_dict", "output_loading_info", "ignore_mismatched_sizes", "local_files_only")
_SHOWN: Final = 5


def from_pretrained(
    path: PathLike,
    *,
    base: PathLike | None = None,
    dtype: str | torch.dtype | None = None,
    auto_class: str | type[Any] | None = None,
    ignore_unexpected: bool = False,
    threads: int | None = None,
    **kwargs: Any,
) -> PreTrainedModel:
    """The model at `path` in evaluation mode: an archive of its folder, or a folder of config.json and archives.

    `base` is what the archive was coded against. `dtype` ("bfloat16", torch.float32) defaults to the configuration's.
    `auto_class` ("AutoModel", transformers.AutoModelForCausalLM, ...) defaults to the architecture that the
    configuration names. Tensors that the model has no place for are an error, unless `ignore_unexpected`. The other
    arguments are those of transformers' `from_pretrained`. Peak memory is about the size of the model.

    Raises InputError naming the tensors that are missing, left over or of another shape; UnsupportedError for a model
    whose code would have to be fetched; FormatError and its kin for a damaged archive; MissingExtraError.
    """
    transformers = _transformers()
    _refuse(kwargs)
    workers = thread_count(threads)
    with _opened(path, base) as (checkpoint, folder), _its_errors(checkpoint.name, "load the model"):
        config = _config(transformers, checkpoint, folder)
        kind = _class(transformers, config, auto_class)
        model, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=_state(checkpoint, workers),
            dtype="auto" if dtype is None else dtype,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **kwargs,
        )
        _check(checkpoint.name, report, ignore_unexpected)
        if model.can_generate() and (folder / "generation_config.json").is_file():
            model.generation_config = transformers.GenerationConfig.from_pretrained(folder, local_files_only=True)
        model.name_or_path = model.config.name_or_path = checkpoint.name
    made: PreTrainedModel = model.eval()
    return made


def tokenizer(path: PathLike, *, base: PathLike | None = None, **kwargs: Any) -> PreTrainedTokenizerBase:
    """The tokenizer at `path`, by transformers' AutoTokenizer, which takes `kwargs`. Raises what `from_pretrained` does."""
    transformers = _transformers()
    _refuse(kwargs)
    with _opened(path, base) as (checkpoint, folder), _its_errors(checkpoint.name, "load the tokenizer"):
        made: PreTrainedTokenizerBase = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **kwargs
        )
        made.name_or_path = checkpoint.name
    return made


def _transformers() -> Any:
    library()
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("transformers", "hf") from None
    return transformers


def _refuse(kwargs: Mapping[str, Any]) -> None:
    """Raises InputError for arguments that aren't the caller's to give."""
    if kwargs.get("trust_remote_code"):
        raise InputError("trust_remote_code: netweight runs no code that comes with an archive")
    if taken := sorted(set(kwargs) & set(_OURS)):
        raise InputError(f"{', '.join(taken)}: set by netweight.hf itself")


@contextmanager
def _opened(path: PathLike, base: PathLike | None) -> Iterator[tuple[Checkpoint, Path]]:
    """The checkpoint, and a folder with its small files that lives as long. transformers stays offline meanwhile."""
    with open_checkpoint(path, base) as checkpoint, tempfile.TemporaryDirectory(prefix="netweight-") as scratch:
        if (folder := checkpoint.folder) is None:
            folder = Path(scratch)
            checkpoint.write_small_files(folder)
        _refuse_fetched_code(checkpoint.name, checkpoint.read_json(CONFIG))
        with _offline():
            yield checkpoint, folder


@contextmanager
def _offline() -> Iterator[None]:
    """A configuration can name files of the hub in many fields: the hub's client refuses all of them."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _its_errors(name: str, doing: str) -> Iterator[None]:
    """Whatever transformers raises (a configuration may lie in any way) as our InputError; our own errors pass."""
    try:
        yield
    except NetweightError:
        raise
    except Exception as error:
        raise InputError(f"{name}: transformers can't {doing}: {error}") from error


def _refuse_fetched_code(name: str, config: Any) -> None:
    """Raises UnsupportedError if a configuration asks for attention or expert kernels from the hub ("owner/kernel")."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key.endswith("_implementation") and isinstance(value, str) and "/" in value:
                raise UnsupportedError(f"{name}: {CONFIG} asks for the code {value!r} ({key}), which isn't fetched")
            _refuse_fetched_code(name, value)
    elif isinstance(config, list):
        for value in config:
            _refuse_fetched_code(name, value)


def _config(transformers: Any, checkpoint: Checkpoint, folder: Path) -> PreTrainedConfig:
    config: PreTrainedConfig = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if getattr(config, "quantization_config", None) is not None:
        raise UnsupportedError(
            f"{checkpoint.name}: {CONFIG} has a quantization_config; decompress the archive and load it with transformers"
        )
    return config


def _class(transformers: Any, config: PreTrainedConfig, auto_class: str | type[Any] | None) -> Any:
    """The class that loads the model. Raises InputError for an `auto_class` that transformers lacks."""
    if auto_class is None:
        for name in config.architectures or ():
            found = getattr(transformers, name, None)
            if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
                return found
        auto_class = transformers.AutoModel
    if isinstance(auto_class, str):
        found = getattr(transformers, auto_class, None)
        if not hasattr(found, "from_pretrained"):
            raise InputError(
                f"transformers has no model class {auto_class!r}; AutoModelForCausalLM and AutoModel are two"
            )
        auto_class = found
    assert auto_class is not None
    if not hasattr(auto_class, "from_config"):
        return auto_class
    with library().device("meta"):  # an automatic class takes no tensors; the class that it makes does
        return type(auto_class.from_config(config, trust_remote_code=False))


def _state(checkpoint: Checkpoint, threads: int) -> dict[str, torch.Tensor]:
    names = checkpoint.keys()
    with closing(ordered_map(checkpoint.tensor, names, threads)) as arrays:
        return {name: from_numpy(array) for name, array in zip(names, arrays, strict=True)}


def _check(name: str, report: Mapping[str, Any], ignore_unexpected: bool) -> None:
    """Raises InputError if tensors and model don't fit; `report` is transformers' loading info."""
    if missing := sorted(report["missing_keys"]):
        raise InputError(f"{name}: lacks {_listed(missing)}, which the model needs")
    if wrong := sorted(report["mismatched_keys"]):
        # older releases tell names alone
        tensor, *shapes = (wrong[0],) if isinstance(wrong[0], str) else wrong[0]
        told = f": {tuple(shapes[0])}, not {tuple(shapes[1])}" if shapes else ""
        raise InputError(f"{name}: {tensor!r} has another shape than {CONFIG} says{told}")
    unexpected = sorted(report["unexpected_keys"])
    if unexpected and not ignore_unexpected:
        raise InputError(
            f"{name}: holds {_listed(unexpected)}, which the model has no place for; choose another auto_class or "
            "leave them out with ignore_unexpected=True"
        )
    if failed := report.get("error_msgs"):
        raise InputError(f"{name}: {failed[0]}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(n) for n in names[:_SHOWN]) + more


__all__ = ["from_pretrained", "tokenizer"]
