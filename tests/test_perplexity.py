"""The measures of benchmarks/perplexity.py and benchmarks/calibration.py against what can be computed by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

BENCHMARKS = str(Path(__file__).parent.parent / "benchmarks")


@pytest.fixture(autouse=True)
def _benchmark_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts import one another by plain names."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield
    for name in set(sys.modules) - before:
        if name in ("perplexity", "calibration", "smollm2", "lm_rivals") or name.startswith("lossy_"):
            del sys.modules[name]


class Bigrams(torch.nn.Module):
    """A language model that knows how often each token follows each."""

    def __init__(self, chances: np.ndarray) -> None:
        super().__init__()
        self.table = torch.log(torch.from_numpy(chances))

    def forward(self, ids: Any) -> Any:
        return SimpleNamespace(logits=self.table[ids])


def test_the_loss_of_a_known_model() -> None:
    from perplexity import log_losses, perplexity

    chances = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    rows = np.array([[0, 1, 1, 2], [2, 2, 0, 0]])
    losses = log_losses(Bigrams(chances), rows)
    wanted = [-np.log([0.25, 0.8, 0.1]).mean(), -np.log([0.6, 0.2, 0.5]).mean()]
    np.testing.assert_allclose(losses, wanted, rtol=1e-6)
    assert perplexity(log_losses(Bigrams(np.full((3, 3), 1 / 3)), rows)) == pytest.approx(3)


def test_a_paired_difference_is_sharper_than_its_parts() -> None:
    from perplexity import difference, standard_error

    rng = np.random.default_rng(0)
    hard, noise = rng.normal(3, 1, 400), rng.normal(0.2, 0.1, 400)
    d = difference(hard + noise, hard)
    assert d.mean == pytest.approx(noise.mean())
    assert d.error == pytest.approx(noise.std(ddof=1) / 20)
    assert d.error < standard_error(hard) / 5
    assert abs(d.mean - 0.2) < 4 * d.error


def test_windows_are_spread_over_every_text(tmp_path: Path) -> None:
    from perplexity import windows

    paths = [tmp_path / "a", tmp_path / "b"]
    for path, letter in zip(paths, "ab", strict=True):
        path.write_text(letter * 9 + "z")

    def tokenizer(text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) for c in text]}

    found = windows(tokenizer, paths, 4, 3)
    assert ["".join(map(chr, row)) for row in found] == ["aaa", "aaz", "bbb", "bbz"]
    with pytest.raises(ValueError, match="too few"):
        windows(tokenizer, paths, 4, 6)
    with pytest.raises(ValueError, match="shared equally"):
        windows(tokenizer, paths, 3, 2)


def test_second_moments_are_those_of_the_inputs() -> None:
    from calibration import second_moments

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.twin = torch.nn.Linear(5, 4), torch.nn.Linear(5, 4)
            self.second = torch.nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.second(torch.relu(self.first(x) + self.twin(x)))

    torch.manual_seed(1)
    net = Net()
    batches = [torch.randn(3, 7, 5), torch.randn(2, 5)]
    found = second_moments(net, batches)
    x = torch.cat([b.reshape(-1, 5) for b in batches]).double()
    hidden = torch.relu(net.first(x.float()) + net.twin(x.float())).detach().double()
    assert found.keys() == {"first.weight", "twin.weight", "second.weight"}
    for name, inputs in (("first.weight", x), ("twin.weight", x), ("second.weight", hidden)):
        np.testing.assert_allclose(found[name], (inputs.T @ inputs / 23).numpy(), rtol=1e-5, atol=1e-6)
        assert found[name].dtype == np.float32
    change = np.random.default_rng(0).normal(size=(2, 4))
    moved = (hidden.numpy() @ change.T) ** 2  # what the error of a layer's output is: the moments tell it
    assert moved.sum(1).mean() == pytest.approx(np.trace(change @ found["second.weight"] @ change.T), rel=1e-5)
    with pytest.raises(RuntimeError):
        second_moments(net, [torch.randn(2, 3)])
    assert not net.first._forward_pre_hooks


def test_rotary_rows_get_back_their_order() -> None:
    """llama.cpp's converter writes, for each head, row k of the first half and then row k of the second."""
    from smollm2 import _unpermuted

    heads, half, columns = 3, 4, 2
    rows = np.arange(heads * 2 * half * columns, dtype=np.float32).reshape(-1, columns)
    written = np.concatenate(
        [rows[h * 2 * half + part * half + k][None] for h in range(heads) for k in range(half) for part in (0, 1)]
    )
    assert np.array_equal(_unpermuted(written, heads), rows)


def test_names_of_gguf_tensors() -> None:
    from smollm2 import hugging_face_name

    assert hugging_face_name("blk.12.attn_output.weight") == "model.layers.12.self_attn.o_proj.weight"
    assert hugging_face_name("token_embd.weight") == "model.embed_tokens.weight"
    with pytest.raises(KeyError):
        hugging_face_name("rope_freqs.weight")
