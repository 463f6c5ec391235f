"""The rivals of shrink_rivals.py: each prunes, trains and quantises with its own tool, saves, loads and is scored.

Training is netweight's: AdamW without decay at 1e-3, gradients clipped at 5, a short rise and half a cosine for each part.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cifar
import torch
from shrink_resnet import Data
from shrink_rivals import packed, timed
from torch import nn

from netweight.shrink.costs import FULL_BITS, multiplications
from netweight.shrink.tracing import trace

PRUNING, GRIDS, ROUNDS, KEEP = 3, 4, 3, 0.5
"""Shares of the steps, rounds of pruning and the share of MACs that is left: those of shrink_resnet.py's recipes."""
RATE, CLIP, WARM = 1e-3, 5.0, 0.05
BATCHES = 16
CALIBRATION = 10


def run(name: str, options: argparse.Namespace, data: Data) -> dict[str, Any]:
    """The row of one rival."""
    from safetensors.numpy import load_file

    network = cifar.resnet(load_file(options.weights))
    folder = options.journal / "saved" / name.replace(" ", "-").replace(",", "").replace("%", "percent")
    folder.mkdir(parents=True, exist_ok=True)
    tool, _, rest = name.partition(" + ")
    steps, pruned = options.budget, 0
    if tool in PRUNERS:
        pruned = steps * PRUNING // (PRUNING + GRIDS) if rest and rest != _WEIGHTS else steps
        halve(PRUNERS[tool], network, data, pruned)
    ending = rest if tool in PRUNERS else name
    row, model, files = ENDINGS[ending](network, data, steps - pruned, folder)
    row |= {"score": data.score(model)} | packed(files)
    return timed(row, model, data, options)


# --- training and counting ---


def fine_tune(model: nn.Module, data: Data, steps: int, seed: int, *, mode: bool = True) -> None:
    """Train in place. `mode`: switch to training and back (an exported graph is switched by its tool)."""
    if mode:
        model.train()
    wanted = [p for p in model.parameters() if p.requires_grad and p.is_floating_point()]
    optimiser = torch.optim.AdamW(wanted, RATE, weight_decay=0.0)
    warm = max(1, round(WARM * steps))
    losses = iter(data.losses(model, seed))
    for done in range(steps):
        rise = (done + 1) / warm
        fall = 0.5 * (1 + math.cos(math.pi * (done - warm) / max(steps - warm, 1)))
        for group in optimiser.param_groups:
            group["lr"] = RATE * (rise if done < warm else fall)
        loss = next(losses)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(wanted, CLIP))
        if not math.isfinite(norm):
            raise RuntimeError(f"the gradient isn't finite at step {done + 1}")
        optimiser.step()
        if done % 50 == 49:
            print(f"  step {done + 1} of {steps}, loss {float(loss.detach()):.3f}", flush=True)
    if mode:
        model.eval()


def counted(network: nn.Module, bits: list[int]) -> dict[str, Any]:
    """MACs and BitOps; `bits` of weights and activations by layer in the order of computation, [] for floats everywhere."""
    example = torch.zeros(2, 3, 32, 32)
    amounts = [amount for _, amount, _ in multiplications(trace(network.eval(), example), (example,), {})]
    widths = bits or [FULL_BITS] * len(amounts)
    return {"macs": sum(amounts), "bitops": sum(a * b * b for a, b in zip(amounts, widths, strict=True))}


def calibration(data: Data) -> list[torch.Tensor]:
    """Training images, cropped and flipped: float32 [100, 3, 32, 32] each."""
    draw = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data.labels), generator=draw)
    return [data.batch(index, draw).contiguous() for index in order[: 100 * CALIBRATION].split(100)]


def quantised_note(bits: list[int]) -> str:
    """How many layers have grids."""
    return f"{sum(b < FULL_BITS for b in bits)} of {len(bits)} layers quantised"


# --- pruning ---


Pruner = Callable[[nn.Module, list[nn.Module]], tuple[Callable[[], None], bool]]
"""(network, layers to leave alone) -> (one small step, whether gradients must be there)."""


def _taylor(network: nn.Module, left: list[nn.Module]) -> tuple[Callable[[], None], bool]:
    import torch_pruning as tp

    return _torch_pruning(network, left, tp.importance.GroupTaylorImportance()), True


def _magnitude(network: nn.Module, left: list[nn.Module]) -> tuple[Callable[[], None], bool]:
    """Channels inside blocks alone: those of the shortcuts, which are padded with zeros, stay."""
    import torch_pruning as tp

    inner = [m for path, m in network.named_modules() if path.endswith("conv2") or path == "conv1"]
    return _torch_pruning(network, left + inner, tp.importance.GroupMagnitudeImportance()), False


def _torch_pruning(network: nn.Module, left: list[nn.Module], importance: Any) -> Callable[[], None]:
    import torch_pruning as tp

    pruner = tp.pruner.BasePruner(
        network, torch.zeros(2, 3, 32, 32), importance=importance, global_pruning=True, pruning_ratio=0.9,
        max_pruning_ratio=0.9, iterative_steps=90, ignored_layers=left,
    )  # fmt: skip
    return pruner.step  # type: ignore[no-any-return]


def _fasterai(network: nn.Module, left: list[nn.Module]) -> tuple[Callable[[], None], bool]:
    from fasterai.core.criteria import large_final
    from fasterai.prune.pruner import Pruner as Theirs

    pruner = Theirs(
        network, 0.9, "global", large_final, ignored_layers=left, example_inputs=torch.zeros(2, 3, 32, 32),
        iterative_steps=90, max_pruning_ratio=0.9,
    )  # fmt: skip
    return pruner.prune_model, False  # type: ignore[return-value]


PRUNERS: dict[str, Pruner] = {
    "torch-pruning": _taylor,
    "torch-pruning, magnitude": _magnitude,
    "fasterai prune": _fasterai,
}


def halve(prune: Pruner, network: nn.Module, data: Data, steps: int) -> None:
    """Small steps until the MACs of each round's goal are left, with training after each round."""
    whole = counted(network, [])["macs"]
    network.train()
    step, gradients = prune(network, [network.get_submodule("linear")])
    for number in range(1, ROUNDS + 1):
        if gradients:
            network.zero_grad()
            for _, loss in zip(range(BATCHES), data.losses(network.train(), number), strict=False):
                (loss / BATCHES).backward()  # type: ignore[no-untyped-call]
        goal = whole * KEEP ** (number / ROUNDS)
        for _ in range(90):
            if counted(network, [])["macs"] <= goal:
                break
            step()
        else:
            raise RuntimeError(
                f"{counted(network, [])['macs'] / whole:.3f} of the MACs are left after every step of pruning"
            )
        network.zero_grad()
        fine_tune(network, data, steps * number // ROUNDS - steps * (number - 1) // ROUNDS, number)


# --- endings: what is trained last, saved, loaded ---

Ended = tuple[dict[str, Any], Any, list[Path]]
"""(row so far, what was loaded and runs, files)."""
_WEIGHTS = "torchao int8 weights"


def plain(network: nn.Module, data: Data, steps: int, folder: Path) -> Ended:
    """The rest of the steps in floats; torch.save of the state dict, since a pruned class has no constructor of its own."""
    if steps:
        fine_tune(network, data, steps, 9)
    row = counted(network, []) | {"note": "FP32; the file is the state dict: code and widths are needed to load it"}
    file = folder / "network.pt"
    torch.save(network.state_dict(), file)
    return row, _filled(network, torch.load(file, weights_only=True)), [file]


def _filled(network: nn.Module, state: dict[str, Any]) -> nn.Module:
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.zero_()
    network.load_state_dict(state)
    return network.eval()


def ao_weights(network: nn.Module, data: Data, steps: int, folder: Path) -> Ended:
    """Weight-only recipes of torchao on what was trained; what they do to convolutions is told."""
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    del steps
    row = counted(network, [])
    said = []
    for config, kinds in ((Int8WeightOnlyConfig(), (nn.Conv2d,)), (Int4WeightOnlyConfig(), (nn.Conv2d, nn.Linear))):
        trial = copy.deepcopy(network)
        try:
            quantize_(trial, config, filter_fn=lambda m, _path, kinds=kinds: isinstance(m, kinds))
            data.score(trial)
            said.append(f"{type(config).__name__} on {kinds[0].__name__} runs")
        except Exception as error:  # noqa: BLE001  told in the row
            said.append(
                f"{type(config).__name__} on {kinds[0].__name__}: {type(error).__name__}: {str(error).splitlines()[0][:120]}"
            )
    before = {n: type(m.weight) for n, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    quantize_(network, Int8WeightOnlyConfig())
    changed = [n for n, kind in before.items() if type(network.get_submodule(n).weight) is not kind]
    file = folder / "network.pt"
    torch.save(network.state_dict(), file)
    state = torch.load(file, weights_only=False)
    network.load_state_dict(state, assign=True)
    row["note"] = f"weights of {', '.join(changed)} alone are integers by default; " + "; ".join(said)
    return row, network.eval(), [file]


def ao_qat(network: nn.Module, data: Data, steps: int, folder: Path) -> Ended:
    """PT2E quantisation-aware training with the x86 inductor quantiser (W8A8), torch.export.save."""
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
    from torchao.quantization.pt2e import move_exported_model_to_eval, move_exported_model_to_train
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e

    example = (torch.randn(4, 3, 32, 32),)
    shapes = ({0: torch.export.Dim("batch", min=1, max=1024)},)
    exported = torch.export.export(network.train(), example, dynamic_shapes=shapes).module()
    quantiser = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config(is_qat=True))
    prepared = prepare_qat_pt2e(exported, quantiser)
    move_exported_model_to_train(prepared)
    fine_tune(prepared, data, steps, 9, mode=False)
    move_exported_model_to_eval(prepared)
    converted = convert_pt2e(prepared)
    file = folder / "network.pt2"
    torch.export.save(torch.export.export(converted, example, dynamic_shapes=shapes), file)
    loaded = torch.export.load(file).module()
    bits = _graph_bits(loaded)
    note = f"W8A8, {quantised_note(bits)}; ms in eager mode"
    note += _compiled_note(loaded, data)
    return counted(network, bits) | {"note": note}, loaded, [file]


def _graph_bits(module: Any) -> list[int]:
    """8 for each layer whose input and weight come from integers."""
    found = []
    for node in module.graph.nodes:
        if node.op == "call_function" and any(
            k in str(node.target) for k in ("conv2d", "convolution", "linear", "addmm")
        ):
            integer = all("dequantize" in str(a.target) for a in node.args[:2])
            found.append(8 if integer else FULL_BITS)
    return found


def _compiled_note(module: Any, data: Data) -> str:
    """Milliseconds through inductor, which is what the quantiser is for."""
    import torch._inductor.config as inductor
    from shrink_rivals import alternated

    inductor.freezing = True
    image = data.test[0][:1].contiguous()
    try:
        with torch.no_grad():
            exported = torch.export.export(module, (image,)).module()
            compiled = torch.compile(exported)
            compiled(image)
            return f", {alternated([lambda: compiled(image)])[0]:.2f} through torch.compile"
    except Exception as error:  # noqa: BLE001  told in the row
        return f" (torch.compile: {type(error).__name__}: {str(error).splitlines()[0][:120]})"


def fasterai_qat(network: nn.Module, data: Data, steps: int, folder: Path) -> Ended:
    """The Quantizer of fasterai, as its callback uses it: prepare, train, convert (W8A8 in torch.ao's FX mode)."""
    from fasterai.quantize.quantizer import Quantizer
    from torch.ao.quantization.quantize_fx import convert_fx

    quantiser = Quantizer("x86", "qat")
    image = data.test[0][:1].contiguous()
    prepared = quantiser._prepare_model(network, image)  # noqa: SLF001  its callback's own call
    fine_tune(prepared, data, steps, 9)
    with quantiser._quantized_engine():  # noqa: SLF001
        converted = convert_fx(prepared)
    kinds = [type(m).__module__ + type(m).__name__ for m in converted.modules()]
    layers = [k for k in kinds if "Conv" in k or "Linear" in k]
    bits = [8 if "quantized" in k else FULL_BITS for k in layers if "Packed" not in k]
    file = folder / "network.pt"
    torch.jit.save(torch.jit.trace(converted, data.test[0]), file)
    torch.backends.quantized.engine = "x86"
    loaded = torch.jit.load(file)
    return counted(network, bits) | {"note": f"W8A8, {quantised_note(bits)}"}, loaded, [file]


def nncf_qat(network: nn.Module, data: Data, steps: int, folder: Path, *, width: int = 8, sparse: float = 0.0) -> Ended:
    """nncf.quantize, training, nncf.strip, OpenVINO's converter and its file; runs in OpenVINO on the CPU.

    `sparse`: the share of single weights that nncf.prune masks, after which an equal part of the steps is trained.
    """
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

    images = calibration(data)
    model = network
    if sparse:
        mode = nncf.PruneMode.UNSTRUCTURED_MAGNITUDE_GLOBAL
        model = nncf.prune(model, mode=mode, ratio=sparse, examples_inputs=images[0])
        part = steps * PRUNING // (PRUNING + GRIDS)
        fine_tune(model, data, part, 1)
        steps -= part
    own = QuantizationParameters(num_bits=width)
    advanced = AdvancedQuantizationParameters(weights_quantization_params=own, activations_quantization_params=own)
    options = {} if width == 8 else {"advanced_parameters": advanced}
    model = nncf.quantize(model.eval(), nncf.Dataset(images), subset_size=len(images), **options)
    fine_tune(model, data, steps, 9)
    return _openvino(network, nncf.strip(model.eval(), example_input=images[0]), folder, width)


def _openvino(network: nn.Module, stripped: nn.Module, folder: Path, width: int) -> Ended:
    import openvino as ov

    converted = ov.convert_model(
        stripped, example_input=torch.zeros(2, 3, 32, 32), input=[ov.PartialShape([-1, 3, 32, 32])]
    )
    file = folder / "network.xml"
    ov.save_model(converted, file)
    core = ov.Core()
    read = core.read_model(file)
    bits = _openvino_bits(read, width)
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    compiled = core.compile_model(read, "CPU", settings)

    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(compiled(x.contiguous().numpy())[0])

    levels = sorted(
        {int(op.get_attributes()["levels"]) for op in read.get_ordered_ops() if op.get_type_name() == "FakeQuantize"}
    )
    note = f"W{width}A{width}, {quantised_note(bits)}, grids of {levels} levels; runs in OpenVINO"
    return counted(copy.deepcopy(network), bits) | {"note": note}, run, [file, file.with_suffix(".bin")]


def _openvino_bits(model: Any, width: int) -> list[int]:
    """`width` for each layer with a grid for its input and integers for its weights."""
    found = []
    for op in model.get_ordered_ops():
        if op.get_type_name() in ("Convolution", "MatMul"):
            weight = op.input_value(1).get_node()
            while weight.get_type_name() != "Constant":
                weight = weight.input_value(0).get_node()
            integers = weight.get_element_type().is_integral()
            grid = op.input_value(0).get_node().get_type_name() == "FakeQuantize"
            found.append(width if grid and integers else FULL_BITS)
    return found


def _nncf(**options: Any) -> Callable[[nn.Module, Data, int, Path], Ended]:
    def ending(network: nn.Module, data: Data, steps: int, folder: Path) -> Ended:
        return nncf_qat(network, data, steps, folder, **options)

    return ending


ENDINGS: dict[str, Callable[[nn.Module, Data, int, Path], Ended]] = {
    "": plain,
    "fine-tuned": plain,
    _WEIGHTS: ao_weights,
    "torchao QAT": ao_qat,
    "QAT": fasterai_qat,
    "NNCF QAT": _nncf(),
    "NNCF QAT, 4 bits": _nncf(width=4),
    "NNCF sparse 70 % + QAT": _nncf(sparse=0.7),
}
