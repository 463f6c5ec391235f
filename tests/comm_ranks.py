"""Runs functions on real ranks: one process that has imported torch forks them, so that it is imported once.

    results = run("comm_ddp_ranks", {"same_bits": 2, "dead_rank": 3})

calls `same_bits(rank)` on two ranks, then `dead_rank(rank)` on three, each with a process group of its own, and gives what
each rank returned, or {"error": type name, "message": text} where it raised, or None where it died.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def run(module: str, scenarios: dict[str, int], timeout: float = 300) -> dict[str, list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
        done = subprocess.run(
            [sys.executable, __file__, module, json.dumps(scenarios), folder],
            env=env, timeout=timeout, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        return {name: [_result(Path(folder), name, rank) for rank in range(n)] for name, n in scenarios.items()}


def _result(folder: Path, name: str, rank: int) -> Any:
    path = folder / f"{name}.{rank}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _rank(function: Any, name: str, rank: int, world: int, folder: Path) -> None:
    import torch.distributed as dist

    store = f"file://{folder / name}.store"
    dist.init_process_group("gloo", store, timeout=timedelta(seconds=90), rank=rank, world_size=world)
    try:
        result = function(rank)
    except Exception as error:  # noqa: BLE001  the test judges it
        result = {"error": type(error).__name__, "message": str(error), "trace": traceback.format_exc()}
    (folder / f"{name}.{rank}.json").write_text(json.dumps(result))


def main() -> None:
    import torch

    torch.set_num_threads(1)
    module, folder = import_module(sys.argv[1]), Path(sys.argv[3])
    getattr(module, "warm", lambda: None)()  # kernels that are loaded here needn't be loaded by each rank
    for name, world in json.loads(sys.argv[2]).items():
        children = []
        for rank in range(world):
            child = os.fork()
            if child == 0:
                try:
                    _rank(getattr(module, name), name, rank, world, folder)
                finally:
                    os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
