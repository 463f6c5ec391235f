"""Units found in ONNX files and exported programs: the network permuted by them computes the same; the rest is left alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from netweight.errors import InputError, NotFoundError
from netweight.report.symmetry import symmetry_text
from netweight.weights.symmetry.message import canonical_of
from netweight.weights.symmetry.onnx_graph import groups_of_onnx
from netweight.weights.symmetry.torch_graph import groups_of_program
from netweight.weights.symmetry.weigh import weigh_symmetries


class Residual(nn.Module):
    """A stream of channels that two blocks add to, a depthwise convolution, a head behind a flattened map."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.inner = nn.Conv2d(6, 5, 3, padding=1)
        self.depth = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.outer = nn.Conv2d(5, 6, 1, bias=False)
        self.hidden = nn.Linear(6 * 4, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        x = torch.relu(self.bn(self.stem(x)))
        x = x + self.outer(torch.relu(self.depth(self.inner(x))))
        x = nn.functional.max_pool2d(x, 2).flatten(1)
        return self.head(torch.tanh(self.hidden(x)))


def tensors(module):
    return {name: t.detach().numpy().copy() for name, t in module.state_dict().items()}


def exported(module, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, (x,))


def assert_same_function(module, x, found):
    state = tensors(module)
    canonical = canonical_of(state, found.groups)
    before = module(x)
    module.load_state_dict({name: torch.from_numpy(a) for name, a in canonical.items()})
    torch.testing.assert_close(module(x), before, rtol=1e-4, atol=1e-5)
    return [name for name in state if canonical[name].tobytes() != state[name].tobytes()]


def test_a_residual_network():
    torch.manual_seed(1)
    module, x = Residual().eval(), torch.randn(4, 2, 4, 4)
    module.bn.running_mean.uniform_()
    found = groups_of_program(exported(module, x))
    assert {g.units: (g.count, g.sign, g.scale) for g in found.groups} == {
        "stem.weight": (6, False, False), "inner.weight": (5, False, False), "hidden.weight": (7, True, False),
    }  # fmt: skip
    assert [units for units, _ in found.left if "head" in units] == ["head.weight"]
    moved = assert_same_function(module, x, found)
    assert {"stem.weight", "bn.running_mean", "depth.weight", "outer.weight", "hidden.weight", "head.weight"} <= set(
        moved
    )


class Mystery(nn.Module):
    """Units that flow through a sort can't be permuted."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.sort(self.a(x))[0])))


def test_what_isnt_understood_is_left_alone():
    torch.manual_seed(2)
    module, x = Mystery(), torch.randn(6, 3)
    found = groups_of_program(exported(module, x))
    assert [g.units for g in found.groups] == ["b.weight"]
    assert found.groups[0].scale
    reasons = dict(found.left)
    assert "sort" in reasons["a.weight"]
    assert "output" in reasons["c.weight"]
    moved = assert_same_function(module, x, found)
    assert "a.weight" not in moved


def test_a_tied_matrix_ties_its_units():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.loop = nn.Linear(3, 4), nn.Linear(4, 4)
            self.down = nn.Linear(4, 2)

        def forward(self, x):
            return self.down(torch.relu(self.loop(torch.relu(self.loop(torch.relu(self.up(x)))))))

    torch.manual_seed(3)
    module, x = Tied(), torch.randn(6, 3)
    found = groups_of_program(exported(module, x))
    assert [(g.units, g.count, g.scale) for g in found.groups] == [("up.weight", 4, False)]
    assert_same_function(module, x, found)


def onnx_model(path, *, mystery=False):
    """conv, relu, conv, add, flatten, gemm, tanh, matmul, by hand."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    r = np.random.default_rng(4)
    weights = {
        "c1.w": r.normal(size=(5, 1, 3, 3)), "c1.b": r.normal(size=5), "c2.w": r.normal(size=(5, 5, 3, 3)),
        "fc.w": r.normal(size=(6, 5 * 9)), "fc.b": r.normal(size=6), "out.w": r.normal(size=(6, 2)),
    }  # fmt: skip
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "c1.w", "c1.b"], ["a"], **pads),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "c2.w"], ["c"], **pads),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "fc.w", "fc.b"], ["f"], transB=1),
        helper.make_node("Softmax" if mystery else "Tanh", ["f"], ["g"]),
        helper.make_node("MatMul", ["g", "out.w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 1, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return model


def test_an_onnx_model(tmp_path):
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    model = onnx_model(tmp_path / "net.onnx")
    found = groups_of_onnx(tmp_path / "net.onnx")
    assert [(g.units, g.count, g.sign) for g in found.groups] == [("c1.w", 5, False), ("fc.w", 6, True)]
    state = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    canonical = canonical_of(state, found.groups)
    assert canonical["fc.w"].tobytes() != state["fc.w"].tobytes()
    x = np.random.default_rng(5).normal(size=(2, 1, 3, 3)).astype(np.float32)
    before = ReferenceEvaluator(model).run(None, {"x": x})[0]
    for t in model.graph.initializer:
        t.CopyFrom(numpy_helper.from_array(canonical[t.name], t.name))
    np.testing.assert_allclose(ReferenceEvaluator(model).run(None, {"x": x})[0], before, rtol=1e-4, atol=1e-5)


def test_an_onnx_model_is_its_own_architecture(tmp_path):
    onnx_model(tmp_path / "net.onnx")
    found = weigh_symmetries(tmp_path / "net.onnx", tmp_path / "net.onnx")
    assert found.units == 11
    assert found.rows[1].bound_bits == pytest.approx(np.log2(120 * 720))
    assert "11 in all" in symmetry_text(found, 120)


def test_an_onnx_model_with_an_operator_we_dont_know(tmp_path):
    onnx_model(tmp_path / "net.onnx", mystery=True)
    found = groups_of_onnx(tmp_path / "net.onnx")
    assert [g.units for g in found.groups] == ["c1.w"]
    assert any("Softmax" in why for _, why in found.left)


def test_what_is_no_onnx_model(tmp_path):
    with pytest.raises(NotFoundError):
        groups_of_onnx(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 40)
    with pytest.raises(InputError):
        groups_of_onnx(tmp_path / "bad.onnx")
