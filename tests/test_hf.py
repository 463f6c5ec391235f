"""netweight.hf loads what transformers would: every parameter, the ties, the tokenizer; and tells what doesn't fit."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import netweight.hf  # noqa: E402
from netweight import errors  # noqa: E402
from netweight.weights.archive import compress_file  # noqa: E402

UNKNOWN = "[UNK]"
SMALL: dict[str, Any] = {"vocab_size": 96, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def llama(**more: Any) -> Any:
    kind = {"intermediate_size": 24, "num_key_value_heads": 1, "tie_word_embeddings": True}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, **kind, **more))


def gpt2() -> Any:
    sizes = {"vocab_size": 96, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))


def bert() -> Any:
    return transformers.BertModel(transformers.BertConfig(**SMALL, intermediate_size=24, max_position_embeddings=32))


def mixtral() -> Any:
    """Its experts are one tensor in the model and many in the file."""
    kind = {"intermediate_size": 24, "num_key_value_heads": 1, "num_local_experts": 3}
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**SMALL, **kind))


def saved(model: Any, folder: Path, **options: Any) -> Path:
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases too: else a fresh model would do as well
            parameter.copy_(torch.randn_like(parameter))
    model.eval().save_pretrained(folder, **options)
    return folder


def archived(folder: Path) -> Path:
    return Path(compress_file(folder, effort="fast", threads=1).archive)


def ids() -> Any:
    return torch.arange(2, 14)[None]


def same(model: Any, other: Any) -> None:
    """Equal in class, parameters, buffers and output."""
    assert type(model) is type(other)
    assert not model.training
    mine, its = ({**dict(m.named_parameters()), **dict(m.named_buffers())} for m in (model, other))
    assert mine.keys() == its.keys()
    for name, tensor in mine.items():
        assert tensor.dtype == its[name].dtype, name
        assert torch.equal(tensor, its[name]), name
    with torch.inference_mode():
        assert torch.equal(model(ids())[0], other(ids())[0])


@pytest.mark.parametrize("make", [llama, gpt2, bert, mixtral])
def test_it_is_the_model_that_transformers_loads(make: Any, tmp_path: Path) -> None:
    folder = saved(make(), tmp_path / "model")
    wanted = type(make()).from_pretrained(folder)
    archive = archived(folder)
    shutil.rmtree(folder)
    same(netweight.hf.from_pretrained(archive, threads=1), wanted)


def test_tied_weights_stay_tied_and_can_be_trained(tmp_path: Path) -> None:
    model = netweight.hf.from_pretrained(archived(saved(llama(), tmp_path / "model")), threads=1)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    model(ids(), labels=ids()).loss.backward()
    assert float(model.lm_head.weight.grad.abs().sum()) > 0


def test_shards_beside_the_configuration(tmp_path: Path) -> None:
    model = llama()
    folder = saved(model, tmp_path / "model", max_shard_size="8kB")
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1
    for shard in shards:
        compress_file(shard, effort="fast", threads=1)
        shard.unlink()
    same(netweight.hf.from_pretrained(folder), model)
    (folder / f"{shards[1].name}.nw").unlink()
    with pytest.raises(errors.NotFoundError, match=shards[1].name):
        netweight.hf.from_pretrained(folder)


def test_one_archive_beside_the_configuration(tmp_path: Path) -> None:
    model = bert()
    folder = saved(model, tmp_path / "model")
    archive = Path(compress_file(folder / "model.safetensors", threads=1).archive)
    same(netweight.hf.from_pretrained(archive), model)
    same(netweight.hf.from_pretrained(folder), model)
    shutil.copy(archive, folder / "copy.nw")
    with pytest.raises(errors.InputError, match=r"copy\.nw .*both hold 'model\.safetensors'"):
        netweight.hf.from_pretrained(folder)


def test_dtype_and_class(tmp_path: Path) -> None:
    archive = archived(saved(llama(dtype="bfloat16"), tmp_path / "model"))
    asked = netweight.hf.from_pretrained(archive, dtype="float64", auto_class="AutoModelForCausalLM")
    assert asked.dtype == torch.float64
    with pytest.raises(errors.InputError, match="no model class 'Auto'"):
        netweight.hf.from_pretrained(archive, auto_class="Auto")
    base = netweight.hf.from_pretrained(archive, auto_class=transformers.AutoModel)
    assert type(base) is transformers.LlamaModel
    assert torch.equal(base.embed_tokens.weight.double(), asked.lm_head.weight)


def test_a_base_is_needed_where_it_was_used(tmp_path: Path) -> None:
    model = llama()
    before = saved(model, tmp_path / "before")
    with torch.no_grad():
        model.model.norm.weight += 1
    model.save_pretrained(tmp_path / "after")
    archive = Path(compress_file(tmp_path / "after", base=before, threads=1).archive)
    same(netweight.hf.from_pretrained(archive, base=before), model)
    with pytest.raises(errors.BaseMismatchError):
        netweight.hf.from_pretrained(archive)


def rewritten(folder: Path, change: Any) -> Path:
    """The archive of the folder after `change(tensors)`."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return archived(folder)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    archive = rewritten(saved(llama(), tmp_path / "model"), lambda t: t.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(
        errors.InputError, match=r"lacks 'model\.layers\.1\.mlp\.up_proj\.weight', which the model needs"
    ):
        netweight.hf.from_pretrained(archive)


def test_an_unexpected_tensor_is_named_and_can_be_ignored(tmp_path: Path) -> None:
    model = llama()
    archive = rewritten(saved(model, tmp_path / "model"), lambda t: t.update(extra=torch.ones(3)))
    with pytest.raises(errors.InputError, match="holds 'extra', which the model has no place for"):
        netweight.hf.from_pretrained(archive)
    same(netweight.hf.from_pretrained(archive, ignore_unexpected=True), model)


def test_a_shape_that_differs_is_named(tmp_path: Path) -> None:
    archive = rewritten(saved(llama(), tmp_path / "model"), lambda t: t.update({"model.norm.weight": torch.ones(9)}))
    with pytest.raises(errors.InputError, match=r"'model\.norm\.weight' has another shape than config\.json says"):
        netweight.hf.from_pretrained(archive)


def configured(folder: Path, **changes: Any) -> Path:
    """The archive of the folder with other values in config.json."""
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return archived(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "someone/kernel"},
        {"nested": [{"_experts_implementation": "someone/kernel"}]},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"model_type": "unheard-of"},
        {"model_type": "unheard-of", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}},
        {"hidden_size": "wide"},
        {"num_attention_heads": 0},
        {"vocab_size": -5},
    ],
)
def test_a_hostile_configuration_is_an_error_of_ours(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = saved(llama(), tmp_path / "model")
    (folder / "code.py").write_text("raise SystemExit('code of the archive was run')")
    with pytest.raises(errors.InputError, match=r"model\.nw"):
        netweight.hf.from_pretrained(configured(folder, **changes))


@pytest.mark.parametrize("config", [b"{", b"[1, 2]", b"[" * 100_000, b"\xff", b"null", b""])
def test_a_broken_configuration_is_an_error_of_ours(config: bytes, tmp_path: Path) -> None:
    folder = saved(llama(), tmp_path / "model")
    (folder / "config.json").write_bytes(config)
    with pytest.raises((errors.InputError, errors.FormatError), match=r"model\.nw"):
        netweight.hf.from_pretrained(archived(folder))


def test_the_caller_cannot_ask_for_foreign_code(tmp_path: Path) -> None:
    archive = archived(saved(llama(), tmp_path / "model"))
    for load in (netweight.hf.from_pretrained, netweight.hf.tokenizer):
        with pytest.raises(errors.InputError, match="no code"):
            load(archive, trust_remote_code=True)
        with pytest.raises(errors.InputError, match="config"):
            load(archive, config={})


def test_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    with pytest.raises(errors.NotFoundError, match="holds no archive"):
        netweight.hf.from_pretrained(tmp_path / "weights")
    with pytest.raises(errors.NotFoundError, match="no weights"):
        netweight.hf.from_pretrained(archived(tmp_path / "weights"))
    plain = compress_file(tmp_path / "weights" / "config.json", tmp_path / "other.nw", threads=1)
    with pytest.raises(errors.NotFoundError, match=r"no weights|no config\.json"):
        netweight.hf.from_pretrained(plain.archive)
    with pytest.raises(errors.NotFoundError):
        netweight.hf.from_pretrained(tmp_path / "absent.nw")


def test_a_flipped_byte_names_the_archive(tmp_path: Path) -> None:
    archive = archived(saved(llama(), tmp_path / "model"))
    data = bytearray(archive.read_bytes())
    for place in range(0, len(data), len(data) // 20):
        data[place] ^= 16
        archive.write_bytes(data)
        with pytest.raises(errors.NetweightError, match=r"model\.nw"):
            netweight.hf.from_pretrained(archive, threads=1)
        data[place] ^= 16


def test_the_tokenizer(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({UNKNOWN: 0, "how": 1, "much": 2, "weight": 3}, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = saved(llama(), tmp_path / "model")
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token=UNKNOWN).save_pretrained(folder)
    archive = archived(folder)
    shutil.rmtree(folder)
    loaded = netweight.hf.tokenizer(archive)
    assert loaded("how much does weight weigh")["input_ids"] == [1, 2, 0, 3, 0]
    assert loaded.name_or_path == str(archive)


def test_no_network_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a network was asked")

    archive = configured(saved(llama(), tmp_path / "model"), transformers_weights="other.safetensors")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    netweight.hf.from_pretrained(archive)
    with pytest.raises(errors.NetweightError):
        netweight.hf.tokenizer(archive)


def test_without_transformers_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(errors.MissingExtraError, match=r"netweight\[hf\]"):
        netweight.hf.from_pretrained(tmp_path)


def test_unsupported_is_told_apart(tmp_path: Path) -> None:
    folder = saved(llama(), tmp_path / "model")
    with pytest.raises(errors.UnsupportedError, match="quantization_config"):
        netweight.hf.from_pretrained(configured(folder, quantization_config={"quant_method": "gptq", "bits": 4}))
