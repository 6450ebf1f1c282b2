"""What depth does to the kernel and the posterior of a ResNet, with and without scaled branches."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bayesnn.gp import gp_posterior
from bayesnn.kernels import ntk
from bayesnn.networks import NTKLinear, Residual
from benchmarks.width.problems import sphere, target

DEPTHS = (3, 10, 50, 200, 1000)
DIMENSION, ROWS, NOISE = 10, 200, 0.1


def degeneration() -> str:
    """Return a table of the standard and of the Stable ResNet, as Markdown."""
    lines = [
        "| blocks | scaling | log₂ prior variance | least correlation | rmse | mean posterior sd |",
        "|---|---|---|---|---|---|",
    ]
    for depth in DEPTHS:
        for name, scale in (("none", 1.0), ("1/√L", 1 / math.sqrt(depth))):
            lines.append(f"| {depth} | {name} | " + " | ".join(_row(depth, scale)) + " |")
    return "\n".join(lines)


def _row(depth: int, scale: float) -> list[str]:
    kernel = ntk(_network(depth, scale))
    x, points = sphere(ROWS, DIMENSION, 1), sphere(ROWS, DIMENSION, 2)
    try:
        diagonal = float(kernel.diagonal(x[:1]))
    except ValueError as error:
        return [str(error), "", "", ""]
    if not math.isfinite(diagonal):
        return ["over 1024", "", "", ""]

    def unit(a: Tensor, b: Tensor | None = None) -> Tensor:
        return kernel(a, b) / diagonal

    noise = torch.randn(ROWS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    post = gp_posterior(unit, x, target(x) + NOISE * noise, points, noise_std=NOISE)
    rmse = (post.mean - target(points)).square().mean().sqrt()
    assert post.epistemic_variance is not None
    return [
        f"{math.log2(diagonal):.1f}", f"{float(unit(x).min()):.4f}", f"{float(rmse):.2f}",
        f"{float(post.epistemic_variance.sqrt().mean()):.3f}",
    ]  # fmt: skip


def _network(depth: int, scale: float) -> nn.Sequential:
    def layer(fan_in: int) -> NTKLinear:
        return NTKLinear(fan_in, 1, weight_std=math.sqrt(2), bias_std=0.0)

    blocks = [Residual(nn.Sequential(nn.ReLU(), layer(1)), scale=scale) for _ in range(depth)]
    return nn.Sequential(layer(DIMENSION), *blocks, nn.ReLU(), layer(1))
