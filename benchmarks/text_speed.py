"""Speed of the text codec in processor time:  python benchmarks/text_speed.py FILE [--bytes N] [--fp32 DIRECTORY]

In one run, one thread, the same text and model: encoding in chunks; encoding token by token, as llama-zip and its kin do (the
same bytes, which is checked); decoding block by block and side by side. With --fp32 (a Hugging Face directory) also a step of
the float32 network under torch, whose numbers nobody else can reproduce.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from netweight.entropy import range_coder
from netweight.text.codec import line_breaks, lockstep, model_block
from netweight.text.codec.encoder import cut
from netweight.text.codec.settings import Window
from netweight.text.codec.spelling import Speller
from netweight.text.codec.token_model import code_tokens, make_token_model
from netweight.text.model import LanguageModel, load

WINDOW = Window(2048, 1024)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def step_by_step(model: LanguageModel, prepared: model_block.Prepared, most: int) -> bytes:
    """The range coder's bytes of a block, the model asked for one token at a time."""
    tokens = prepared.spelling.tokens
    coder, buffer = range_coder.make_encoder(), np.empty(most, np.uint8)
    learnt, state, last = (
        make_token_model(model.vocabulary, tokens.size),
        model.start(1, min(2048, tokens.size)),
        model.begin,
    )
    for at in range(tokens.size):
        logits = model.step(state, np.array([last], np.int32))
        code_tokens(learnt, coder, buffer, logits, model_block.logit_shift(), tokens[at : at + 1].copy())
        last = int(tokens[at])
    if prepared.flags & model_block.UNWRAPPED:
        line_breaks.encode(coder, buffer, prepared.text, prepared.ends)
    return range_coder.finish(coder, buffer) or b""


def fp32_step(directory: Path, tokens: np.ndarray, count: int) -> float:
    """Seconds of processor time a token."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.no_grad():
        cache = network(torch.tensor([tokens[:64].tolist()]), use_cache=True).past_key_values
        start = time.process_time()
        for token in tokens[64 : 64 + count].tolist():
            cache = network(torch.tensor([[token]]), past_key_values=cache, use_cache=True).past_key_values
    return (time.process_time() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--bytes", type=int, default=24_000)
    parser.add_argument("--block", type=int, default=1500)
    parser.add_argument("--fp32", type=Path)
    arguments = parser.parse_args()
    data = arguments.file.read_bytes()[: arguments.bytes]
    model, loading = timed(lambda: load(threads=1))
    print(f"load                    {loading:8.2f} s")
    speller = Speller(model.tokenizer)
    blocks = list(cut(data, arguments.block))
    prepared = [p for p in (model_block.prepare(speller, b) for b in blocks) if p is not None]
    count = sum(p.spelling.tokens.size for p in prepared)
    encode = lambda p: model_block.encode(model, WINDOW, p, arguments.block, lambda _: None)  # noqa: E731
    encode(prepared[0])  # kernels are loaded
    payloads, seconds = timed(lambda: [encode(p) for p in prepared])
    fast = count / seconds
    print(f"encode, chunks          {fast:8.0f} tokens/s")

    coded, seconds = timed(lambda: step_by_step(model, prepared[0], arguments.block))
    assert payloads[0].endswith(coded)
    steps = prepared[0].spelling.tokens.size / seconds
    print(
        f"encode, token by token  {steps:8.0f} tokens/s   ({fast / steps:.1f} times slower, {len(coded)} of {len(payloads[0])} bytes)"
    )
    sized = [(p, len(b)) for p, b in zip(payloads, blocks, strict=True)]
    for rows in (1, len(sized)):
        back, seconds = timed(lambda k=rows: lockstep.decode_blocks(model, speller, WINDOW, sized[:k], lambda _: None))
        assert back == blocks[:rows]
        done = sum(p.spelling.tokens.size for p in prepared[:rows])
        print(f"decode, {rows:>3} side by side {done / seconds:8.0f} tokens/s")
    if arguments.fp32:
        print(f"torch float32, a step   {1 / fp32_step(arguments.fp32, prepared[0].spelling.tokens, 40):8.0f} tokens/s")


if __name__ == "__main__":
    main()
