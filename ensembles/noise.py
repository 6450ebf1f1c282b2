"""The noise of regression targets and the evidence for a prior, from training data alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bayesnn.networks import draw_initial_params
from bayesnn.seeds import seeded_generator
from ensembles.linearisation import jacobian

PLACE = (0, 0)  # of its random stream; members have places of one number
MAX_POINTS = 800
MAX_ROWS = 2400  # points times outputs: the kernel of each output is formed
SMALLEST_SUBSET = 64
N_DRAWS = 2
SMALLEST, LARGEST = 1e-3, 2.0  # σ relative to the root mean square of the targets


@dataclass(frozen=True, kw_only=True)
class NoiseFit:
    """Noise and evidence of data under the prior of a network.

    Attributes:
        noise_std: σ of each target, for a row of weight 1.
        log_evidence: log N(y | 0, Θ + σ²W⁻¹), summed over targets, a datum.
    """

    noise_std: Float[Tensor, " t"]
    log_evidence: float


def fit_noise(
    network: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Float[Tensor, "n t"],
    *,
    seed: int,
    noise_std: Float[Tensor, " t"] | None = None,
    row_weight: Float[Tensor, " n"] | None = None,
) -> NoiseFit:
    """Estimate σ of each target by the marginal likelihood of the network's NTK process.

    σ maximises log N(y | 0, Θ + σ²W⁻¹) for each target, with Θ = JΛ⁻¹Jᵀ of the network, averaged
    over a few θ₀ and over the outputs, and W the rows' weights (type-II maximum likelihood;
    Rasmussen and Williams, 2006, chapter 5). One eigendecomposition serves every σ. What the prior
    cannot explain counts as noise. Rows that stand in the data twice, X and y, count once: a copy
    says nothing about the noise.

    Args:
        network: the network, whose prior gives Θ.
        x: training inputs, as the network sees them; a random subset of 800 is used, of fewer
            where the network has many outputs.
        y: training targets, in the network's units.
        seed: of the subset and of θ₀.
        noise_std: σ, where it is known and only the evidence is wanted.
        row_weight: a row of weight w has noise of variance σ²/w; None for 1.

    Returns:
        σ in y's units, between 1/1000 and 2 times the root mean square of y, and the evidence.
    """
    generator = seeded_generator(seed, *PLACE)
    with torch.no_grad():
        n_outputs = network(x[:1]).shape[1]
    limit = min(MAX_POINTS, max(SMALLEST_SUBSET, MAX_ROWS // n_outputs))
    x, y, root = _subset(x, y, row_weight, limit, generator)
    kernel = torch.zeros(x.shape[0], x.shape[0], dtype=torch.float64, device=x.device)
    for _ in range(N_DRAWS):
        draw = draw_initial_params(network, generator=generator)
        with torch.no_grad():
            one = jacobian(network, {name: value.unsqueeze(0) for name, value in draw.items()}, x)
            kernel += one.mean_kernel()[0] / N_DRAWS
    # with √w on both sides the noise is σ² for all rows
    eigenvalues, vectors = torch.linalg.eigh(root.unsqueeze(1) * kernel * root)
    eigenvalues = eigenvalues.clamp(min=0.0)
    white = root.unsqueeze(1) * y.double()
    squares = (vectors.mT @ white) ** 2
    if noise_std is None:
        scale = white.square().mean(0).sqrt()
        best = [
            _best_std(eigenvalues, squares[:, j], float(scale[j]) or 1.0) for j in range(y.shape[1])
        ]
        noise_std = torch.tensor(best, dtype=torch.float64, device=x.device)
    nll = _nll(eigenvalues, squares, noise_std).sum() - y.shape[1] * root.log().sum()
    return NoiseFit(noise_std=noise_std, log_evidence=-float(nll) / x.shape[0])


def _subset(
    x: Float[Tensor, "n ..."],
    y: Float[Tensor, "n t"],
    row_weight: Float[Tensor, " n"] | None,
    limit: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "s ..."], Float[Tensor, "s t"], Float[Tensor, " s"]]:
    """Return random rows, none twice, and the square roots of their weights."""
    n, k = y.shape
    weight = y.new_ones(n) if row_weight is None else row_weight

    def drawn(size: int) -> Int[Tensor, " size"]:
        return torch.randperm(len(weight), generator=generator)[:size].to(x.device)

    if n > 2 * limit:
        rows = drawn(2 * limit)
        x, y, weight = x[rows], y[rows], weight[rows]
    points = x.shape[1:]
    joint = (x.flatten(1).double(), y.double(), weight.double().unsqueeze(1))
    unique = torch.unique(torch.cat(joint, dim=1), dim=0)
    weight = unique[:, -1]
    unique = unique[drawn(limit)]
    return (
        unique[:, : -k - 1].reshape(-1, *points).to(x.dtype),
        unique[:, -k - 1 : -1].to(y.dtype),
        unique[:, -1].sqrt(),
    )


def _best_std(
    eigenvalues: Float[Tensor, " n"], squares: Float[Tensor, " n"], scale: float
) -> float:
    """Return σ of least negative log likelihood: a grid, then a finer one about its best."""
    low, high = math.log(SMALLEST * scale), math.log(LARGEST * scale)
    best = low
    for _ in range(2):
        grid = torch.linspace(low, high, 61, dtype=torch.float64, device=eigenvalues.device)
        nll = _nll(eigenvalues, squares.unsqueeze(1), grid.exp())
        i = int(nll.argmin())
        low, best, high = (float(grid[max(0, min(j, 60))]) for j in (i - 1, i, i + 1))
    return math.exp(best)


def _nll(
    eigenvalues: Float[Tensor, " n"], squares: Float[Tensor, "n _"], std: Float[Tensor, " c"]
) -> Float[Tensor, " c"]:
    """Return −log N(y | 0, Θ + σ²I), summed over the data."""
    variance = std**2 + eigenvalues.unsqueeze(1)
    return 0.5 * (squares / variance + (2 * math.pi * variance).log()).sum(0)
