"""The noise of regression targets, estimated where the user does not give it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.networks import draw_initial_params
from bayesnn.seeds import seeded_generator
from ensembles.linearisation import Jacobian, jacobian

PLACE = (0, 0)  # of its random stream; members have places of one number
MAX_POINTS = 800
N_DRAWS = 2
SMALLEST, LARGEST = 1e-3, 2.0  # σ relative to the root mean square of the targets


def estimate_noise_std(
    network: nn.Module, x: Float[Tensor, "n d"], y: Float[Tensor, "n k"], *, seed: int
) -> Float[Tensor, " k"]:
    """Estimate σ of each output by the marginal likelihood of the network's NTK process.

    σ maximises the sum over outputs' own log N(y | 0, Θ + σ²I), with Θ = JΛ⁻¹Jᵀ of the network,
    averaged over a few θ₀ (type-II maximum likelihood; Rasmussen and Williams, 2006, chapter 5).
    One eigendecomposition serves every σ. What the prior cannot explain counts as noise.

    Args:
        network: the network, whose prior gives Θ.
        x: training inputs, as the network sees them; a random subset of 800 is used.
        y: training targets, in the network's units.
        seed: of the subset and of θ₀.

    Returns:
        σ in y's units, between 1/1000 and 2 times the root mean square of y.
    """
    generator = seeded_generator(seed, *PLACE)
    if x.shape[0] > MAX_POINTS:
        rows = torch.randperm(x.shape[0], generator=generator)[:MAX_POINTS].to(x.device)
        x, y = x[rows], y[rows]
    kernel = torch.zeros(x.shape[0], x.shape[0], dtype=torch.float64, device=x.device)
    for _ in range(N_DRAWS):
        draw = draw_initial_params(network, generator=generator)
        with torch.no_grad():
            one = jacobian(network, {name: value.unsqueeze(0) for name, value in draw.items()}, x)
            kernel += _mean_over_outputs(one) / N_DRAWS
    eigenvalues, vectors = torch.linalg.eigh(kernel)
    projected = vectors.mT @ y.double()
    scale = y.double().square().mean(0).sqrt()
    return torch.stack([
        _best_std(eigenvalues.clamp(min=0.0), projected[:, j] ** 2, float(scale[j]) or 1.0)
        for j in range(y.shape[1])
    ])


def _mean_over_outputs(linear: Jacobian) -> Float[Tensor, "n n"]:
    _, n, k = linear.values.shape
    blocks = linear.kernel()[0].double().view(k, n, k, n)
    return torch.stack([blocks[j, :, j] for j in range(k)]).mean(0)


def _best_std(
    eigenvalues: Float[Tensor, " n"], squares: Float[Tensor, " n"], scale: float
) -> Float[Tensor, ""]:
    """Return σ of least negative log likelihood: a grid, then a finer one about its best."""

    def best(low: float, high: float) -> tuple[float, float, float]:
        grid = torch.linspace(low, high, 61, dtype=torch.float64)
        variance = torch.exp(2 * grid).to(eigenvalues).unsqueeze(1) + eigenvalues
        nll = (squares / variance + variance.log()).sum(1)
        i = int(nll.argmin())
        return float(grid[max(i - 1, 0)]), float(grid[i]), float(grid[min(i + 1, 60)])

    low, _, high = best(math.log(SMALLEST * scale), math.log(LARGEST * scale))
    _, log_std, _ = best(low, high)
    return torch.tensor(math.exp(log_std), dtype=torch.float64, device=eigenvalues.device)
