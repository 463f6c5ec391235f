"""The results of benchmarks/comm_gossip.py as a page and as a plot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _steps(hit: Any) -> str:
    return "-" if hit is None else f"{hit[0]:,}"


def _kbit(hit: Any) -> str:
    return "-" if hit is None else f"{hit[1] / 1000:,.1f}"


def _ratio(row: Row, rival: Row, key: str, at: int) -> str:
    if row[key] is None or rival[key] is None:
        return "-"
    return f"{rival[key][at] / row[key][at]:.1f}" if at else f"{row[key][0] / rival[key][0] - 1:+.1%}"


def _convergence(title: str, section: Row) -> Iterator[str]:
    rows = {row["name"]: row for row in section["rows"]}
    exact, single = rows["NIDS, float64"], rows["NIDS, float32"]
    yield f"## {title}"
    yield ""
    yield (
        f"{section['problem']}, ring of {section['nodes']}, step size 1/L, from zero. Error: root mean square over nodes of "
        "|x_i - x*| / |x*|. kbit: sent by a node. *fewer*: bits of NIDS over bits of this to the same error, against whole "
        "vectors in float32 at 1e-6 and in float64 at 1e-12; *steps*: against NIDS in float64."
    )
    yield ""
    head = [
        "algorithm",
        "bytes a message",
        "steps to 1e-6",
        "kbit",
        "fewer than float32",
        "steps",
        "steps to 1e-12",
        "kbit",
    ]
    head += ["fewer than float64", "steps", "error at the end", "after"]
    yield from _table(head, [
        [
            row["name"], f"{row['bytes a message']:.1f}", _steps(row["to 1e-6"]), _kbit(row["to 1e-6"]),
            _ratio(row, single, "to 1e-6", 1), _ratio(row, exact, "to 1e-6", 0),
            _steps(row["to 1e-12"]), _kbit(row["to 1e-12"]), _ratio(row, exact, "to 1e-12", 1), _ratio(row, exact, "to 1e-12", 0),
            f"{row['error']:.1e}", f"{row['steps']:,}",
        ]
        for row in section["rows"]
    ])  # fmt: skip


def _consensus(rows: list[Row]) -> Iterator[str]:
    yield "## Consensus by PowerGossip"
    yield ""
    yield (
        "100 x 100 matrices in float32 on a ring of 8, to 1e-3 of the first distance to the mean: Mbit a node (rounds). CHOCO with "
        "the best gamma of a small grid, named. Differences: *shared*, of rank 4 in one subspace; *rank one*, each node its own; "
        "*decaying*, full rank with singular values 1/k in one basis; *random*, entries of their own. CHOCO with sign x mean has not "
        "arrived after 300 rounds: what is left is ever more uneven, and the sign says ever less of it."
    )
    yield ""
    names = [name for name in rows[0] if name != "differences"]

    def cell(found: Any) -> str:
        if found is None:
            return "not reached"
        gamma = f", gamma {found[2]}" if len(found) > 2 else ""
        return f"{found[1]:.2f} ({found[0]}{gamma})"

    yield from _table(["differences", *names], [[row["differences"], *(cell(row[n]) for n in names)] for row in rows])


def _training(rows: list[Row]) -> Iterator[str]:
    yield "## A small CNN on a ring of 8"
    yield ""
    yield (
        "Two convolutions and two linear layers, SGD without momentum (step size as named, a tenth of it in the last fifth), batches of "
        "32 a node; test accuracy of the nodes' own models "
        "(mean, worst) and of their mean model. *apart*: relative distance of the nodes to their mean. One seed."
    )
    yield ""
    head = [
        "data",
        "parts",
        "algorithm",
        "mean",
        "worst",
        "mean model",
        "apart",
        "Mbit a node",
        "fewer",
        "steps",
        "step size",
    ]
    full = {(r["data"], r["sorted by label"]): r["bits"] for r in rows if r["algorithm"].startswith("full")}
    yield from _table(head, [
        [
            r["data"], "by label" if r["sorted by label"] else "random", r["algorithm"], f"{r['accuracy']:.2%}", f"{r['worst']:.2%}",
            f"{r['mean_model']:.2%}", f"{r['apart']:.1e}", f"{r['bits'] / 1e6:.1f}",
            f"{full[r['data'], r['sorted by label']] / r['bits']:.1f}", f"{r['steps']}", f"{r['lr']:g}",
        ]
        for r in rows
    ])  # fmt: skip


def _scale(rows: list[Row]) -> Iterator[str]:
    yield "## A thousand nodes in one process"
    yield ""
    yield (
        "Quadratics with d = 1,000 in float64, from zero, one process, processor seconds with the gradients. Peak memory is the process's, "
        "so far, in this order. Every message is made, counted and decoded."
    )
    yield ""
    head = [
        "graph",
        "edges",
        "spectral gap",
        "algorithm",
        "s a step",
        "peak MB",
        "messages",
        "MB sent",
        "error",
        "steps",
    ]
    yield from _table(head, [
        [
            r["graph"], f"{r['edges']:,}", f"{r['gap']:.2g}", r["algorithm"], f"{r['seconds a step']:.2f}", f"{r['peak MB']:.0f}",
            f"{r['messages']:,}", f"{r['MB sent']:,.1f}", f"{r['error']:.1e}", f"{r['steps']}",
        ]
        for r in rows
    ])  # fmt: skip


def _ranks(found: Row) -> Iterator[str]:
    yield "## Real ranks"
    yield ""
    yield (
        f"{found['nodes']} processes over gloo on this machine's {found['cores']} cores, {found['steps']:,} steps of LEAD with 2 bits, "
        f"d = {found['d']:,} in float64, on a ring: {found['ms a step']:.1f} ms a step on the clock "
        f"({found['cpu ms a step']:.1f} ms of processor time a rank), {found['bytes']:,} bytes sent by all, as in the simulation "
        f"({found['simulated bytes']:,}). Final vectors {'are' if found['equal'] else 'are NOT'} the simulation's to the last bit. "
        f"Resident memory of the largest rank: {found['MB early']:.1f} MB after a tenth of the steps, {found['MB late']:.1f} MB at the end."
    )
    yield ""


def render(results: Row) -> str:
    """The page."""
    lines = ["# Decentralised algorithms under compression: measured", ""]
    lines.append(
        "`python benchmarks/comm_gossip.py --a9a FILE --mnist FILE`. Bits are of messages that were made and decoded again, "
        "with 4 bytes of checksum, the length of each record, and 5 bytes of length in front of each message."
    )
    lines.append("")
    if "regression" in results:
        lines += _convergence("Linear regression", results["regression"])
    if "a9a" in results:
        lines += _convergence("Logistic regression, a9a sorted by label", results["a9a"])
    if "consensus" in results:
        lines += _consensus(results["consensus"])
    if "training" in results:
        lines += _training(results["training"])
    if "scale" in results:
        lines += _scale(results["scale"])
    if "ranks" in results:
        lines += _ranks(results["ranks"])
    if "regression" in results:
        lines += ["![Error against steps and bits](comm-gossip.png)", ""]
    return "\n".join([*lines, f"Machine: {results['machine']['processor']}, one thread a process.", ""])


def plot(results: Row, path: Path) -> None:
    """Error against steps and against bits, for the convex problems."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = [name for name in ("regression", "a9a") if name in results]
    if not shown:
        return
    figure, axes = plt.subplots(len(shown), 2, figsize=(11, 4.2 * len(shown)), squeeze=False, layout="constrained")
    for row, name in zip(axes, shown, strict=True):
        for run in results[name]["rows"]:
            curve = [point for point in run["curve"] if point[2] < 10]
            for axis, at in zip(row, (0, 1), strict=True):
                axis.semilogy(
                    [p[at] / (1 if at == 0 else 1e6) for p in curve], [p[2] for p in curve], label=run["name"], lw=1.3
                )
        row[0].set(title=results[name]["problem"], xlabel="steps", ylabel="error")
        row[1].set(xlabel="Mbit sent by a node (decoded messages)", xscale="log")
        row[1].legend(fontsize=7, frameon=False, loc="lower left")
    figure.savefig(path, dpi=110, metadata={"Software": "netweight"})
