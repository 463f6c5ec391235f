"""The metadata of a GGUF file, and its tokenizer as a tokenizer.json."""

from __future__ import annotations

import json
from typing import Any, Final

from ...errors import FormatError, UnsupportedError

Json = dict[str, Any]
_SPECIAL: Final = (3, 4, 5)
"""Types of tokens that stand for no text: control, user-defined, unused."""
# llama.cpp's names of pre-tokenizers: digits one by one and GPT-2's pattern, or that pattern alone, or one of their own.
_DIGITS: Final = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
_GPT2: Final = ("gpt-2", "gpt2", "phi-2", "jina-es", "jina-de", "roberta-bpe", "default")
_LLAMA3: Final = "llama-bpe"
_WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS: Final = {_LLAMA3: _WORDS % r"\p{N}{1,3}", "qwen2": _WORDS % r"\p{N}"}
_LEVEL: Final = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_SPACE: Final = "\u2581"


class Fields:
    """The metadata: numbers and texts by key, arrays on demand. Raises FormatError for what is missing."""

    def __init__(self, reader: Any, name: str) -> None:
        self.name, self._reader = name, reader
        self.numbers: dict[str, Any] = {}
        self.texts: dict[str, str] = {}
        for key, field in reader.fields.items():
            if len(field.data) == 1 and len(field.types) == 1:
                value = field.contents()
                (self.texts if isinstance(value, str) else self.numbers)[key] = value

    def text(self, key: str) -> str:
        if key not in self.texts:
            raise FormatError(f"{self.name}: {key!r} is missing")
        return self.texts[key]

    def array(self, key: str) -> list[Any]:
        if key not in self._reader.fields:
            raise FormatError(f"{self.name}: {key!r} is missing")
        found = self._reader.fields[key].contents()
        return found if isinstance(found, list) else [found]


def described(fields: Fields) -> str:
    """The file's tokenizer as a tokenizer.json. Raises FormatError, UnsupportedError."""
    kinds = {"gpt2": _byte_level, "llama": _sentencepiece}
    kind = fields.text("tokenizer.ggml.model")
    if kind not in kinds:
        raise UnsupportedError(
            f"{fields.name}: tokenizer model {kind!r} isn't supported; use the Hugging Face directory"
        )
    tokens: list[str] = fields.array("tokenizer.ggml.tokens")
    types: list[int] = fields.array("tokenizer.ggml.token_type")
    plain = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    special = [
        {"id": number, "content": token, **plain}
        for number, (token, kind_of) in enumerate(zip(tokens, types, strict=False))
        if kind_of in _SPECIAL
    ]
    shared: Json = {
        "version": "1.0",
        "added_tokens": special,
        "truncation": None,
        "padding": None,
        "post_processor": None,
    }
    return json.dumps({**shared, **kinds[kind](fields, tokens)})


def _byte_level(fields: Fields, tokens: list[str]) -> Json:
    """GPT-2's kind: bytes spelt as letters, words split by a pattern, merges in the file."""
    kind = fields.texts.get("tokenizer.ggml.pre", "default")
    steps: list[Json]
    if kind in _DIGITS:
        steps = [{"type": "Digits", "individual_digits": True}, _LEVEL]
    elif kind in _GPT2:
        steps = [_LEVEL]
    elif kind in _PATTERNS:
        split = {"type": "Split", "pattern": {"Regex": _PATTERNS[kind]}, "behavior": "Isolated", "invert": False}
        steps = [split, {**_LEVEL, "use_regex": False}]
    else:
        raise UnsupportedError(f"{fields.name}: pre-tokenizer {kind!r} isn't supported; use the Hugging Face directory")
    merges = [merge.split(" ") for merge in fields.array("tokenizer.ggml.merges")]
    return {
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "decoder": _LEVEL,
        "model": {**_pairs(tokens, merges), "ignore_merges": kind == _LLAMA3},
    }


def _sentencepiece(fields: Fields, tokens: list[str]) -> Json:
    """Llama 2's kind: pieces with scores; of two neighbours that make a piece, those of the best score merge first."""
    scores: list[float] = fields.array("tokenizer.ggml.scores")
    if len(scores) != len(tokens):
        raise FormatError(f"{fields.name}: {len(scores)} scores for {len(tokens)} tokens")
    known = set(tokens)
    splits = [
        (-scores[number], number, token[:at], token[at:])
        for number, token in enumerate(tokens)
        for at in range(1, len(token))
        if token[:at] in known and token[at:] in known
    ]
    merges = [[left, right] for _, _, left, right in sorted(splits)]
    unknown = fields.numbers.get("tokenizer.ggml.unknown_token_id", 0)
    name = tokens[unknown] if 0 <= unknown < len(tokens) else None
    return {
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
        "pre_tokenizer": None,
        "decoder": None,
        "model": {**_pairs(tokens, merges), "unk_token": name, "fuse_unk": True, "byte_fallback": True},
    }


def _pairs(tokens: list[str], merges: list[list[str]]) -> Json:
    return {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
        "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": {token: number for number, token in enumerate(tokens)}, "merges": merges,
    }  # fmt: skip
