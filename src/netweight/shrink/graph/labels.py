"""A walk over a network's graph that labels the axes of every value with the atoms that they come from.

What moves numbers (view, permute, cat, slice, pad, ...) is run on the labels themselves, so that heads, concatenations,
flattened maps and shuffled channels need no rules of their own. What this file doesn't know keeps everything it reads: nothing
is cut there, and the rest of the network still can be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import fx, nn

from .. import layers
from ..grids import ActivationGrid
from ..lifting import arguments
from ..network import Network, attribute
from ..ops import CREATIONS, ELEMENTWISE, JOINS, MOVES, REDUCTIONS, SPATIAL, base_name
from .atoms import NONE, Atoms, Labels, compressed
from .roles import NORMS, Roles
from .values import GIVEN, along, args_of, each, nothing, shape_of, with_values

_MOST_ELEMENTS: Final = 1 << 22  # of a parameter or constant that gets an atom an element
_SHUFFLING: Final = ("roll", "diagonal", "tensor_split", "channel_shuffle", "pixel_unshuffle")
_PASSING: Final = (nn.Dropout, nn.Identity, ActivationGrid)
_LIKE_CONVOLUTIONS: Final = (layers.Conv1d, layers.Conv2d, layers.Conv3d)
_TRANSPOSED: Final = (layers.ConvTranspose1d, layers.ConvTranspose2d)


@dataclass
class Labelled:
    """What the walk found: labels and shapes of each node's value (of each tensor in a tuple), and the atoms."""

    atoms: Atoms
    roles: Roles
    labels: dict[fx.Node, Any] = field(default_factory=dict)
    shapes: dict[fx.Node, Any] = field(default_factory=dict)
    direct: dict[str, Labels] = field(default_factory=dict)


def label(network: Network, args: tuple[Any, ...], named: dict[str, Any]) -> Labelled:
    """Run the network once on an example and label every value."""
    walk = _Walk(network)
    was = network.training
    network.eval()
    try:
        with torch.no_grad():
            values = network.bind(args, named)
            for node, value in values.items():
                walk.place(node, value)
            network.run(values, walk.visit)
            walk.finish()
    finally:
        network.train(was)
    return walk.found


class _Walk:
    def __init__(self, network: Network) -> None:
        self.network = network
        atoms = Atoms()
        self.atoms, self.found = atoms, Labelled(atoms, Roles(atoms))

    def place(self, node: fx.Node, value: Any) -> None:
        self.found.labels[node] = nothing(value)
        self.found.shapes[node] = shape_of(value)

    def visit(self, node: fx.Node, value: Any, args: tuple[Any, ...]) -> None:
        """Called by Network.run after each node."""
        self.found.shapes[node] = shape_of(value)
        if node.op == "get_attr":
            made = self._attribute(str(node.target), value)
        elif node.op == "call_module":
            made = self._module(node, self.network.get_submodule(str(node.target)), value)
        else:
            made = self._function(node, value, args)
        self.found.labels[node] = each(made, self.atoms.keep_shape)
        if self.network.exits is not None:
            self._exit(node)

    def finish(self) -> None:
        """Outputs keep all that they show."""
        for node in self.network.graph.nodes:
            if node.op == "output":
                fx.map_arg(args_of(node), self._keep_all)

    # --- parameters and layers ---

    def _attribute(self, path: str, value: Any) -> Any:
        if path not in self.found.direct:
            made = np.full([1] * value.dim(), NONE)
            if isinstance(attribute(self.network, path), nn.Parameter) and 1 < value.numel() <= _MOST_ELEMENTS:
                made = self.atoms.fresh(value.numel()).reshape(tuple(value.shape))
            self.found.direct[path] = made
        return self.found.direct[path]

    def _of(self, node: Any) -> Any:
        return self.found.labels[node]

    def _module(self, node: fx.Node, module: nn.Module, value: Any) -> Any:
        source = args_of(node)[0]
        if isinstance(module, layers.Recurrent):
            return self._recurrent(node, module)
        x = self._of(source)
        if isinstance(module, _PASSING):
            return x
        if isinstance(module, layers.Embedding):
            roles = self.found.roles.layer(module)
            self.atoms.keep(roles["column"])
            return along(roles["row"], value.dim(), -1)
        if isinstance(module, (layers.Linear, *_LIKE_CONVOLUTIONS, *_TRANSPOSED)):
            return self._weighted(module, x, self.found.shapes[source], value.dim())
        if isinstance(module, (*NORMS, nn.LayerNorm, nn.RMSNorm)):
            return self._norm(module, x, self.found.shapes[source])
        return self._unknown(node, value)

    def _weighted(self, module: Any, x: Labels, shape: tuple[int, ...], rank: int) -> Labels:
        axis = x.ndim - 1 if isinstance(module, layers.Linear) else x.ndim - module.weight_rank + 1
        roles = self.found.roles.layer(module)
        if not roles:
            return self._all_fixed(x, rank)
        x = self._alone(x, axis)
        others = tuple(a for a in range(x.ndim) if a != axis and x.shape[a] > 1)
        if others:  # the layer is shared by what lies along other axes, which alone can be cut
            self.atoms.keep(roles["row"])
            self.atoms.keep(roles["column"])
            return self.atoms.fix(x, (axis,))
        groups = getattr(module, "groups", 1)
        self._enter(x.reshape(-1) if x.shape[axis] > 1 else np.full(shape[axis], NONE), roles, groups)
        return along(roles["row"], rank, axis if axis < rank else -1)

    def _alone(self, x: Labels, axis: int) -> Labels:
        """Labels of concatenated tokens, say, tied so that they depend on `axis` alone; heads (all atoms differ) as they are."""
        others = tuple(a for a in range(x.ndim) if a != axis and x.shape[a] > 1)
        if not others or (x == NONE).any() or np.unique(x).size == x.size or x.shape[axis] == 1:
            return x
        first = x[tuple(slice(0, 1) if a in others else slice(None) for a in range(x.ndim))]
        self.atoms.tie(x, first)
        return first

    def _enter(self, incoming: Labels, roles: dict[str, Labels], groups: int) -> None:
        """What comes into a layer meets its columns; with groups, all of them are cut alike, or whole ones if they are single."""
        rows, columns = roles["row"], roles["column"]
        if groups == 1:
            self._meet(incoming, columns)
            return
        outputs = rows.reshape(groups, -1)
        if incoming.size == groups:  # depthwise: an input's outputs go with it
            self.atoms.keep(columns)
            self._meet(np.repeat(incoming, outputs.shape[1]), rows)
            self.atoms.tie(outputs, outputs[:, :1])
        else:
            self._meet(incoming, np.tile(columns, groups))
            self.atoms.tie(outputs, outputs[:1])

    def _meet(self, incoming: Labels, columns: Labels) -> None:
        """Tie; columns whose inputs can't be cut stay."""
        self.atoms.tie(incoming, columns)
        self.atoms.keep(columns[incoming == NONE])

    def _norm(self, module: Any, x: Labels, shape: tuple[int, ...]) -> Labels:
        roles = self.found.roles.layer(module)
        last = isinstance(module, (nn.LayerNorm, nn.RMSNorm))
        axis = x.ndim - 1 if last else 1
        wide = last and len(module.normalized_shape) > 1
        if not roles:
            return x if not last else self._all_fixed(x, x.ndim)
        x = x if wide else self._alone(x, axis)
        others = any(n > 1 for a, n in enumerate(x.shape) if a != axis)
        if wide or others:
            self.atoms.keep(roles["row"])
            fixed = tuple(range(x.ndim - len(tuple(module.normalized_shape)), x.ndim)) if last else (axis,)
            return self.atoms.fix(x, fixed)
        flat = x.reshape(-1) if x.shape[axis] > 1 else np.full(shape[axis], NONE)
        self._meet(flat, roles["row"])
        if isinstance(module, nn.GroupNorm) and x.shape[axis] > 1:
            each = flat.reshape(module.num_groups, -1)
            self.atoms.tie(each, each[:1])
        return x

    def _recurrent(self, node: fx.Node, module: layers.Recurrent) -> Any:
        roles = self.found.roles.layer(module)
        x, *states = (self._of(n) for n in args_of(node))
        shape = self.found.shapes[args_of(node)[0]]
        x = self.atoms.fix(x, tuple(range(x.ndim - 1)))
        self._meet(x.reshape(-1) if x.shape[-1] > 1 else np.full(shape[-1], NONE), roles["column"])
        unit = along(roles["unit"], len(shape), -1)
        for state, source in zip(states, args_of(node)[1:], strict=True):
            self._elementwise(
                [(state, self.found.shapes[source]), (unit, (*[1] * (len(shape) - 1), module.hidden_size))]
            )
        return (along(roles["deep"], len(shape), -1), *[unit] * len(states))

    def _exit(self, node: fx.Node) -> None:
        """Heads of exits read the channels of the values that they leave with."""
        for e in self.network.exits.exits:
            if e.node == node.name:
                x, shape = self._of(node), self.found.shapes[node]
                axis = 1 if len(shape) == 4 else len(shape) - 1
                x = self.atoms.fix(x, tuple(a for a in range(x.ndim) if a != axis))
                roles = self.found.roles.layer(self.network.get_submodule(e.path))
                self.atoms.keep(roles["row"])
                self._meet(x.reshape(-1) if x.shape[axis] > 1 else np.full(shape[axis], NONE), roles["column"])

    # --- functions ---

    def _function(self, node: fx.Node, value: Any, args: tuple[Any, ...]) -> Any:
        name = base_name(node.target)
        if name == "size.getitem":
            found = self._of(args_of(node)[0])
            return found[args_of(node)[1]] if isinstance(found, (tuple, list)) else self._unknown(node, value)
        if name.startswith(("size.", "sym_size")):
            return nothing(value)
        if name == "prelu":
            return self._prelu(node)
        if name in ELEMENTWISE:
            parts = [(self._of(n), self.found.shapes[n]) for n in node.all_input_nodes]
            parts = [(n, s) for n, s in parts if isinstance(n, np.ndarray) and isinstance(s, tuple)]
            return self._elementwise(parts) if parts else nothing(value)
        if name in ("pad", "constant_pad_nd"):
            return self._padded(node, value)
        if (name in MOVES or name in JOINS) and not self._shuffles(name, node):
            return self._moved(node, value, args)
        if name in SPATIAL:
            x = self._of(args_of(node)[0])
            return self.atoms.fix(x, tuple(range(2, x.ndim)))
        if name in REDUCTIONS:
            return self._reduced(node, value)
        if name in CREATIONS:
            return self._created(name, node, value)
        if name in ("matmul", "bmm", "mm", "scaled_dot_product_attention"):
            return self._product(node, name, value)
        return self._unknown(node, value)

    def _elementwise(self, parts: list[tuple[Labels, tuple[int, ...]]]) -> Labels:
        """Labels of values that meet element by element (their true shapes beside), broadcast as torch does."""
        rank = max(len(s) for _, s in parts)
        aligned = [(x.reshape([1] * (rank - x.ndim) + list(x.shape)), (1,) * (rank - len(s)) + s) for x, s in parts]
        for k, (x, shape) in enumerate(aligned):
            other = {a for j, (y, _) in enumerate(aligned) if j != k for a in range(rank) if y.shape[a] > 1}
            own = {a for a in range(rank) if x.shape[a] > 1}
            lacking = tuple(a for a in sorted(other - own) if shape[a] > 1)
            if lacking:
                aligned = [(y if j == k else self.atoms.fix(y, lacking), s) for j, (y, s) in enumerate(aligned)]
        out = np.full([1] * rank, NONE)
        for x, _ in aligned:
            if any(n > 1 for n in x.shape):
                self._blocked(out, x)
                a, b = np.broadcast_arrays(out, x)
                self.atoms.tie(a, b)
                out = np.where(a == NONE, b, a)
        return out

    def _blocked(self, out: Labels, x: Labels) -> None:
        """Where one has an index that can't be cut (a constant is padded there) the other's stays too."""
        if any(n > 1 for n in out.shape):
            a, b = np.broadcast_arrays(out, x)
            self.atoms.keep(a[b == NONE])
            self.atoms.keep(b[a == NONE])

    def _prelu(self, node: fx.Node) -> Labels:
        """Its slopes lie along the channels (axis 1), wherever those are."""
        source, slopes = args_of(node)
        rank, found = len(self.found.shapes[source]), self._of(slopes)
        wide = (1, -1, *[1] * (rank - 2)) if rank > 1 else (-1,)
        shape = tuple(self.found.shapes[slopes][0] if k == min(1, rank - 1) else 1 for k in range(rank))
        return self._elementwise([(self._of(source), self.found.shapes[source]), (found.reshape(wide), shape)])

    def _moved(self, node: fx.Node, value: Any, args: tuple[Any, ...]) -> Any:
        """Run the function on labels instead of numbers; indices of a padding are atoms of their own."""
        sources = [n for n in node.all_input_nodes if isinstance(self.found.shapes.get(n), tuple)]
        sources = [n for n in sources if isinstance(self._of(n), np.ndarray)]
        if all(x.size == 1 for x in map(self._of, sources)):
            return nothing(value)
        full: dict[Any, Any] = {
            n: torch.from_numpy(np.array(np.broadcast_to(self._of(n), self.found.shapes[n]))) for n in sources
        }
        call = with_values(fx.map_arg(args_of(node), lambda n: full.get(n, GIVEN)), args)
        target: Any = node.target
        named = {k: v for k, v in node.kwargs.items() if not isinstance(v, fx.Node)}
        return each(target(*call, **named), lambda t: compressed(t.numpy()))

    def _padded(self, node: fx.Node, value: Any) -> Any:
        """Each index that is added along an axis of labels gets an atom."""
        x, pads = self._of(args_of(node)[0]), args_of(node)[1]
        plain = base_name(node.target) == "constant_pad_nd" or len(args_of(node)) < 3 or args_of(node)[2] == "constant"
        if not isinstance(pads, (list, tuple)) or not all(isinstance(p, int) for p in pads):
            return self._unknown(node, value)
        for k in range(len(pads) // 2):
            axis, (left, right) = x.ndim - 1 - k, pads[2 * k : 2 * k + 2]
            if x.shape[axis] == 1 or not (left or right):
                continue
            if not plain or any(n > 1 for a, n in enumerate(x.shape) if a != axis):
                x = self.atoms.fix(x, (axis,))
                continue
            inside = x.reshape(-1)[max(-left, 0) : x.size - max(-right, 0)]
            ends = (self.atoms.fresh(max(left, 0)), self.atoms.fresh(max(right, 0)))
            x = along(np.concatenate([ends[0], inside, ends[1]]), x.ndim, axis)
        return x

    def _shuffles(self, name: str, node: fx.Node) -> bool:
        """Whether a cut would change which indices this moves where."""
        if name in _SHUFFLING:
            return True
        if name != "slice":
            return False
        a, x = arguments(node), self._of(args_of(node)[0])
        labelled = x.shape[a["dim"]] > 1
        ends = [e for e in (a["start"], a["end"]) if e is not None]
        return labelled and (a["step"] != 1 or not all(isinstance(e, int) for e in ends))

    def _reduced(self, node: fx.Node, value: Any) -> Any:
        x, shape = self._of(args_of(node)[0]), self.found.shapes[args_of(node)[0]]
        a = arguments(node)
        axes = a.get("dim", a.get("dims", a.get("axis")))
        if axes is None or axes == []:
            axes = list(range(x.ndim))
        wanted = tuple(d % max(x.ndim, 1) for d in (axes if isinstance(axes, (list, tuple)) else [axes]))
        x = self.atoms.fix(x, wanted)

        def shaped(t: Any) -> Labels:
            gone = tuple(d for d in wanted) if t.dim() == len(shape) - len(wanted) else ()
            return x.squeeze(gone) if gone else x

        return each(value, shaped)

    def _created(self, name: str, node: fx.Node, value: Any) -> Labels:
        if name in ("zeros", "ones", "full", "new_zeros", "new_ones", "new_full") and value.is_floating_point():
            sizes = args_of(node)[1 if name.startswith("new") else 0]
            known = [s if isinstance(s, int) else 1 for s in sizes]
            if 1 < np.prod(known) <= _MOST_ELEMENTS:
                return self.atoms.fresh(int(np.prod(known))).reshape(known)
        if name.endswith("_like"):
            like: Labels = self._of(args_of(node)[0])
            return like
        unlabelled: Labels = nothing(value)
        return unlabelled

    def _product(self, node: fx.Node, name: str, value: Any) -> Any:
        """Batched products: nothing that is summed over can be cut; what lies along batch axes is tied."""
        tensors = args_of(node)[:3] if name == "scaled_dot_product_attention" else args_of(node)[:2]
        parts = [(self._of(n), self.found.shapes[n]) for n in tensors]
        if any(len(s) != value.dim() for _, s in parts):
            return self._unknown(node, value)
        first, second, *rest = parts
        if rest:
            parts = [(self.atoms.fix(x, (x.ndim - 2, x.ndim - 1)), s) for x, s in (first, second)]
            return self._attended(parts, rest[0], node, value)
        (a, shape_a), (b, shape_b) = first, second
        a, b = self.atoms.fix(a, (a.ndim - 1,)), self.atoms.fix(b, (b.ndim - 2,))
        flat_a, flat_b = (*shape_a[:-1], 1), (*shape_b[:-2], 1, shape_b[-1])
        return self._elementwise([(a, flat_a), (b, flat_b)])

    def _attended(self, pair: list[tuple[Labels, Any]], values: tuple[Labels, Any], node: fx.Node, value: Any) -> Any:
        v = self.atoms.fix(values[0], (values[0].ndim - 2,))
        (q, shape_q), (k, shape_k) = pair
        heads, fewer = shape_q[-3] if len(shape_q) > 3 else 1, shape_k[-3] if len(shape_k) > 3 else 1
        if heads != fewer:  # grouped queries: a group's queries go with its key
            k, v = (np.repeat(t, heads // fewer, axis=-3) if t.shape[-3] > 1 else t for t in (k, v))
        lead = tuple(value.shape[:-2])
        if len(args_of(node)) > 3 and isinstance(args_of(node)[3], fx.Node):
            mask = (
                self.atoms.fix(m := self._of(args_of(node)[3]), tuple(range(m.ndim))),
                self.found.shapes[args_of(node)[3]],
            )
            self._elementwise([(q, (*lead, *shape_q[-2:-1], 1)), (mask[0], (*mask[1][:-1], 1))])
        return self._elementwise([(q, (*lead, shape_q[-2], 1)), (k, (*lead, 1, 1)), (v, (*lead, 1, value.shape[-1]))])

    # --- what isn't known ---

    def _unknown(self, node: fx.Node, value: Any) -> Any:
        for source in node.all_input_nodes:
            self._keep_all(source)
        return nothing(value)

    def _all_fixed(self, x: Labels, rank: int) -> Labels:
        self.atoms.keep(x)
        return np.full([1] * rank, NONE)

    def _keep_all(self, node: fx.Node) -> fx.Node:
        each(self.found.labels[node], self.atoms.keep)
        return node
