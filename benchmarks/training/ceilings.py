"""What the device can do at most: its bandwidth and its matrix products, measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.training.setting import Setting
from ensembles.trainers.execution import Execution


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """Bytes a second, read and written, and operations a second by precision."""

    bandwidth: float
    operations: dict[str, float]

    def words(self) -> str:
        """Return a sentence for the report."""
        rates = ", ".join(f"{k} {v / 1e12:.3g}" for k, v in self.operations.items())
        return (
            f"Ceilings measured in this run: copies {self.bandwidth / 1e9:.3g} GB/s (read and "
            f"written), matrix products in TFLOP/s: {rates}."
        )


def measure_ceilings(setting: Setting) -> Ceilings:
    """Copy a large tensor, and multiply large random matrices."""
    gpu = setting.device.type == "cuda"
    source = torch.rand(2**28 if gpu else 2**25, device=setting.device)
    target = torch.empty_like(source)
    seconds = setting.median_seconds(lambda: target.copy_(source), repeats=10)
    bandwidth = 2 * source.numel() * source.element_size() / seconds
    del source, target
    side = 8192 if gpu else 1024
    a, b = (torch.randn(side, side, device=setting.device) for _ in range(2))
    operations = {}
    for name, tf32 in {"float32": False, **({"tf32": True} if gpu else {})}.items():
        with Execution(tf32=tf32).products():
            operations[name] = 2 * side**3 / setting.median_seconds(lambda: a @ b, repeats=5)
    if gpu:
        low, other = a.bfloat16(), b.bfloat16()
        operations["bf16"] = 2 * side**3 / setting.median_seconds(lambda: low @ other, repeats=5)
    return Ceilings(bandwidth=bandwidth, operations=operations)


def floor_seconds(
    ceilings: Ceilings, precision: str, *, n_params: int, hidden: int, rows: int, members: int,
    pull: bool,
) -> float:  # fmt: skip
    """Return the least time of a step of MLPs with Adam.

    Operations: 6 a parameter and row. Bytes: parameters are read by both passes and the update,
    gradients written and read, moments read and written, parameters written, c read; each hidden
    value is written and read by both passes, and so is its gradient.
    """
    operations = 6 * n_params * rows * members
    accesses = (10 + pull) * n_params + 6 * hidden * rows
    return max(
        operations / ceilings.operations[precision], 4 * accesses * members / ceilings.bandwidth
    )
