"""A sparse variational Gaussian process (Hensman et al., 2013) by GPyTorch, on minibatches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bayesnn.seeds import seeded_generator

Moments = Callable[[Float[Tensor, "n d"]], tuple[Tensor, Tensor, Tensor]]
CHUNK = 4096  # points predicted at a time


def fit_sparse_process(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, " n"],
    *,
    nu: float,
    rate: float,
    steps: int,
    batch_size: int,
    inducing: Int[Tensor, " m"],
    device: str,
    seed: int,
) -> Moments:
    """Fit inducing points, lengths, scales and noise together by Adam.

    Args:
        x: standardised features.
        y: standardised targets.
        nu: smoothness of the Matérn kernel.
        rate: learning rate.
        steps: of Adam.
        batch_size: rows a step.
        inducing: rows at which the inducing points start.
        device: where to fit.
        seed: of the order of the rows.

    Returns:
        From features to mean, variance of the function and variance of the noise.
    """
    import gpytorch

    x, y = x.to(device), y.to(device)
    # GPyTorch draws the start of the variational mean from torch's global stream
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _process(x[inducing.to(device)].clone(), nu).to(device)
        likelihood = gpytorch.likelihoods.GaussianLikelihood().to(device)
        bound = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=len(y))
        optimiser = torch.optim.Adam([*model.parameters(), *likelihood.parameters()], lr=rate)
        order = seeded_generator(seed, 1)
        rows = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            while len(rows) < batch_size:
                rows = torch.cat((rows, torch.randperm(len(x), generator=order)))
            taken, rows = rows[:batch_size].to(device), rows[batch_size:]
            optimiser.zero_grad()
            (-bound(model(x[taken]), y[taken])).backward()
            optimiser.step()
    model.eval()

    def moments(points: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            parts = [model(part) for part in points.to(device).split(CHUNK)]
            mean = torch.cat([part.mean for part in parts])
            variance = torch.cat([part.variance for part in parts])
            return mean, variance, likelihood.noise.expand(mean.shape)

    return moments


def _process(inducing: Float[Tensor, "m d"], nu: float) -> Any:
    """Return the process: constant mean, Matérn kernel, Gaussian values at the inducing points."""
    import gpytorch

    class Process(gpytorch.models.ApproximateGP):  # type: ignore[misc]
        def __init__(self) -> None:
            values = gpytorch.variational.CholeskyVariationalDistribution(len(inducing))
            super().__init__(gpytorch.variational.VariationalStrategy(self, inducing, values))
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(
                gpytorch.kernels.MaternKernel(nu=nu, ard_num_dims=inducing.shape[1])
            )

        def forward(self, x: Tensor) -> Any:
            covariance = self.covar_module(x)
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), covariance)

    return Process()
