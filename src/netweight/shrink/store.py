"""A run's memory on disk: what each finished step left, and where the training of the current one stands.

A folder of safetensors files and one JSON journal; no pickle. A run with the same key that was interrupted goes on from the last
complete segment of training and comes to the same result.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import torch

from ..errors import OutputError
from ..weights.archive import outputs
from .network import Network
from .structure import described, rebuilt

_NETWORK: Final = "network"
_MOST: Final = 1 << 30


class Store:
    """The memory of one run in `folder`, for the run that `key` (JSON-able) describes; another key's memory is dropped."""

    def __init__(self, folder: str | os.PathLike[str], key: Any) -> None:
        self.folder = Path(folder)
        with outputs.explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._turn = 0
        self._key = json.dumps(key, sort_keys=True)
        if self._read("key.json") != self._key:
            for old in self.folder.iterdir():
                if old.suffix in (".json", ".safetensors", ".part"):
                    old.unlink()
            self._write("key.json", self._key)

    # --- finished work ---

    def known(self, name: str) -> tuple[Network | None, dict[str, Any]] | None:
        """(network, facts) that were kept under a name; None if there are none, or they can't be read."""
        text = self._read(f"{name}.json")
        try:
            facts = dict(json.loads(text)) if text else None
            if facts is None:
                return None
            structure = facts.pop(_NETWORK, None)
            return (None if structure is None else rebuilt(structure, self._tensors(name))), facts
        except Exception:  # noqa: BLE001  whatever is wrong with it, the work is done again
            return None

    def remember(self, name: str, network: Network | None, facts: dict[str, Any]) -> None:
        """Keep a network (or none) and JSON-able facts."""
        if network is not None:
            structure, tensors = described(network)
            self._save(name, tensors)
            facts = facts | {_NETWORK: structure}
        self._write(f"{name}.json", json.dumps(facts))
        self.forget_training()

    # --- training ---

    def keep(self, number: int, done: int, network: Network, optimiser: torch.optim.Optimizer) -> None:
        """Where training number `number` of the current step stands after `done` steps."""
        state = {f"n.{k}": v for k, v in network.state_dict().items()}
        for k, values in optimiser.state_dict()["state"].items():
            state |= {f"o.{k}.{name}": torch.as_tensor(v) for name, v in values.items() if v is not None}
        self._turn = 1 - self._turn  # never over the file that the note names
        name = f"training-{number}-{self._turn}"
        self._save(name, state)
        self._write(f"training-{number}.json", json.dumps({"done": done, "file": name}))

    def resume(self, number: int, network: Network, optimiser: torch.optim.Optimizer) -> int:
        """Load what was kept of training number `number`; how many steps it had done, 0 if it hadn't begun."""
        try:
            note = json.loads(self._read(f"training-{number}.json") or "{}")
            tensors = self._tensors(str(note["file"]))
            mine = network.state_dict()
            theirs = {k[2:]: v for k, v in tensors.items() if k.startswith("n.")}
            if theirs.keys() != mine.keys() or any(theirs[k].shape != v.shape for k, v in mine.items()):
                return 0
            network.load_state_dict(theirs)
            optimiser.load_state_dict(optimiser.state_dict() | {"state": _optimiser_state(tensors)})
            self._turn = int(str(note["file"]).rpartition("-")[2])
            return int(note["done"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def forget_training(self) -> None:
        """A step is done: how far its training was isn't of use any more."""
        for old in self.folder.glob("training-*"):
            old.unlink(missing_ok=True)

    # --- files ---

    def _read(self, name: str) -> str | None:
        path = self.folder / name
        try:
            return path.read_text() if path.stat().st_size < _MOST else None
        except (OSError, ValueError):
            return None

    def _write(self, name: str, text: str) -> None:
        with outputs.new_file(self.folder / name, force=True) as descriptor:
            outputs.write_all(descriptor, text.encode(), 0)

    def _save(self, name: str, tensors: dict[str, torch.Tensor]) -> None:
        from safetensors.torch import save_file

        part = self.folder / f"{name}.part"
        try:
            save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, part)
            os.replace(part, self.folder / f"{name}.safetensors")
        except OSError as error:
            raise OutputError(f"{part}: can't be written: {error.strerror}") from None

    def _tensors(self, name: str) -> dict[str, torch.Tensor]:
        from safetensors.torch import load_file

        return load_file(self.folder / f"{name}.safetensors")


def _optimiser_state(tensors: dict[str, torch.Tensor]) -> dict[int, dict[str, torch.Tensor]]:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("o."):
            _, number, what = name.split(".", 2)
            state.setdefault(int(number), {})[what] = value
    return state
