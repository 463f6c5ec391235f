"""Text to tokens by the `tokenizers` package, and the bytes that each token stands for."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ...errors import FormatError, MissingExtraError, UnsupportedError

Json = dict[str, Any]
_DOCUMENT: Final = "<|endoftext|>"
_BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE: Final = "\u2581"


class Tokenizer:
    """`encode(text)`: token numbers. `pieces`: the bytes of each token, None for one that stands for no text.

    Text that looks like a special token ("<|im_start|>") is text. `begin` is what precedes a document. Joining the
    pieces of `encode(text)` needn't give `text` back: vocabularies lack bytes, and some normalise.
    Raises FormatError, UnsupportedError, MissingExtraError.
    """

    def __init__(self, description: str, vocabulary: int, begin: int | None, name: str) -> None:
        try:
            import tokenizers
        except ImportError:
            raise MissingExtraError("tokenizers", "lm") from None
        parts = _parsed(description, name)
        self.pieces = _pieces(parts, vocabulary, name)
        self.begin = _begin(parts, begin, vocabulary)
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_str(json.dumps(_plain(parts)))
        except Exception as error:  # noqa: BLE001  the library raises bare Exception
            raise FormatError(f"{name}: not a tokenizer: {error}") from None

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _parsed(description: str, name: str) -> Json:
    try:
        parts = json.loads(description)
    except ValueError as error:
        raise FormatError(f"{name}: its tokenizer isn't JSON: {error}") from None
    model = parts.get("model") if isinstance(parts, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise UnsupportedError(
            f"{name}: a tokenizer without a vocabulary of numbered pieces (byte-pair encoding has one)"
        )
    assert isinstance(parts, dict)
    return parts


def _plain(parts: Json) -> Json:
    """Without special tokens and whatever adds to a text or changes it: the pieces are to spell the text itself."""
    kept = {**parts, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    spaced = _contains(parts.get("normalizer"), "Replace")
    kept["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE} if spaced else None
    kept["pre_tokenizer"] = _without_prefix(parts.get("pre_tokenizer"))
    return kept


def _without_prefix(part: Any) -> Any:
    """A pre-tokenizer that puts no space before a text."""
    if isinstance(part, list):
        return [_without_prefix(p) for p in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _without_prefix(value) for key, value in part.items()}
    if "add_prefix_space" in kept:
        kept["add_prefix_space"] = False
    if kept.get("type") == "Metaspace":
        kept["prepend_scheme"] = "never"
    return kept


def _contains(part: Any, kind: str) -> bool:
    if isinstance(part, dict):
        return part.get("type") == kind or any(_contains(p, kind) for p in part.values())
    return isinstance(part, list) and any(_contains(p, kind) for p in part)


def _added(parts: Json) -> dict[str, int]:
    return {t["content"]: t["id"] for t in parts.get("added_tokens") or [] if isinstance(t, dict)}


def _pieces(parts: Json, vocabulary: int, name: str) -> list[bytes | None]:
    """Byte-level pieces spell each byte as a printable character; others are UTF-8 with a mark for the space."""
    special = set(_added(parts).values())
    spelt = _contains(parts.get("pre_tokenizer"), "ByteLevel") or _contains(parts.get("decoder"), "ByteLevel")
    letters = _byte_letters()
    out: list[bytes | None] = [None] * vocabulary
    for piece, number in parts["model"]["vocab"].items():
        if not isinstance(number, int) or not 0 <= number < vocabulary:
            raise FormatError(f"{name}: its tokenizer has a token {number!r}, its model {vocabulary}")
        if number in special:
            continue
        if spelt:
            known = all(letter in letters for letter in piece)
            out[number] = bytes(letters[letter] for letter in piece) if known and piece else None
        elif match := _BYTE_TOKEN.fullmatch(piece):
            out[number] = bytes([int(match[1], 16)])
        else:
            out[number] = piece.replace(_SPACE, " ").encode("utf-8", "replace") or None
    return out


def _byte_letters() -> dict[str, int]:
    """The character of each byte in byte-level vocabularies: itself if it prints, else one from 256 on (GPT-2)."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in prints]
    return {chr(b): b for b in prints} | {chr(256 + i): b for i, b in enumerate(hidden)}


def _begin(parts: Json, begin: int | None, vocabulary: int) -> int:
    """What separated documents in training, if the vocabulary names it; else the model's own begin token, else 0."""
    number = _added(parts).get(_DOCUMENT, parts["model"]["vocab"].get(_DOCUMENT, begin))
    return number if isinstance(number, int) and 0 <= number < vocabulary else 0
