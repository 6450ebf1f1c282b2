"""A Gaussian process with one length scale a column, chosen by GPyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from bayesnn import Predictive
from bayesnn.gp.exact import GaussianProcess, fit_gp
from bayesnn.seeds import seeded_generator
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.prior import MOST_ITERATIONS, MOST_ROWS

PLACE = (0, 8)  # of the rows' random stream
FORBIDDEN = 1e3  # nats a row
SMALLEST_NOISE = 1e-6  # variance, of targets with variance 1
RANGE = (-10.0, 1e3)  # of parameters of which GPyTorch takes log(1 + exp): scales above 5e-5


@dataclass(frozen=True, kw_only=True)
class Scales:
    """What maximises the marginal likelihood of some rows.

    Attributes:
        kernel: GPyTorch's kernel, with its output scale and length scales.
        mean: the process's constant mean.
        noise_std: σ.
        evidence: log marginal likelihood of a row.
    """

    kernel: Any
    mean: float
    noise_std: float
    evidence: float

    def __call__(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        """Return the kernel matrix, [n1, n2]."""
        with torch.no_grad():
            matrix: Tensor = self.kernel(first, first if second is None else second).to_dense()
        return matrix


def with_factors(*factors: float) -> tuple[Settings, ...]:
    """Return settings: Matérn's ν, ∞ for the squared exponential, and parts of the noise."""
    return tuple(
        {"smoothness": smoothness, "noise_factor": factor}
        for smoothness in (math.inf, 2.5)
        for factor in factors
    )


def same_noise(process: GaussianProcess) -> float:
    """Return the σ by which training rows were fitted."""
    return float(process.noise_std)


@dataclass(frozen=True, kw_only=True)
class ArdGP:
    """The exact posterior of a stationary kernel; scales and noise by the marginal likelihood.

    Attributes:
        name: what tables call it.
        candidates: settings, as `with_factors` makes them; the factor multiplies the noise that the
            likelihood chose, by which training rows are fitted.
        predictive_noise: gives σ about the function at rows to come.
    """

    name: str = "ARD GP"
    candidates: Sequence[Settings] = with_factors(1.0, 1.2, 1.5)
    predictive_noise: Callable[[GaussianProcess], float] = same_noise

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Choose scales on (at most 2,000 of) the rows, then condition on all."""
        order = torch.randperm(len(X), generator=seeded_generator(seed, *PLACE))[:MOST_ROWS]
        some = torch.cat((X, y.unsqueeze(1)), dim=1)[order]
        scales = _chosen(tuple(map(tuple, some.tolist())), settings["smoothness"])
        process = fit_gp(
            scales, X, y - scales.mean, noise_std=scales.noise_std * settings["noise_factor"]
        )

        noise = self.predictive_noise(process)

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            post = process.marginals(rows)
            return Predictive(
                mean=post.mean + scales.mean,
                epistemic_variance=post.epistemic_variance,
                noise_variance=torch.full_like(post.mean, noise**2),
            )

        return Fitted(
            predict=predict, facts={"evidence": scales.evidence, "noise": scales.noise_std}
        )


@lru_cache(maxsize=4)  # candidates of one smoothness ask for the same
def _chosen(rows: tuple[tuple[float, ...], ...], smoothness: float) -> Scales:
    import gpytorch  # an optional peer

    table = torch.tensor(rows, dtype=torch.float64)
    model = _model(gpytorch, table[:, :-1], table[:, -1], smoothness)
    evidence = _maximise(model)
    return Scales(
        kernel=model.covar_module,
        mean=float(model.mean_module.constant.detach()),
        noise_std=math.sqrt(float(model.likelihood.noise.detach())),
        evidence=evidence,
    )


def _model(gpytorch: Any, X: Tensor, y: Tensor, smoothness: float) -> Any:
    class Exact(gpytorch.models.ExactGP):  # type: ignore[misc]
        def __init__(self) -> None:
            noise = gpytorch.constraints.GreaterThan(SMALLEST_NOISE)
            super().__init__(X, y, gpytorch.likelihoods.GaussianLikelihood(noise_constraint=noise))
            self.mean_module = gpytorch.means.ConstantMean()
            sizes = {"ard_num_dims": X.shape[1]}
            self.covar_module = gpytorch.kernels.ScaleKernel(
                gpytorch.kernels.RBFKernel(**sizes)
                if math.isinf(smoothness)
                else gpytorch.kernels.MaternKernel(nu=smoothness, **sizes)
            )

        def forward(self, rows: Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(
                self.mean_module(rows), self.covar_module(rows)
            )

    model = Exact().double()
    model.covar_module.base_kernel.lengthscale = X.shape[1] ** 0.5  # as far as rows are apart
    model.likelihood.noise = 0.1
    return model


def _maximise(model: Any) -> float:
    """Maximise the marginal likelihood by L-BFGS-B; return it, a row."""
    (X,), y = model.train_inputs, model.train_targets
    parameters = list(model.parameters())
    identity = torch.eye(len(y), dtype=y.dtype)

    def loss(place: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        vector_to_parameters(torch.as_tensor(place), parameters)
        covariance = model.covar_module(X).to_dense() + model.likelihood.noise * identity
        error = y - model.mean_module(X)
        with torch.no_grad():
            factor, failed = torch.linalg.cholesky_ex(covariance)
            if bool(failed) or not bool(factor.isfinite().all()):  # no place to go to
                return FORBIDDEN, np.zeros_like(place)
            weights = torch.cholesky_solve(error.unsqueeze(1), factor).squeeze(1)
            value = error @ weights / 2 + factor.diagonal().log().sum()
            pull = (torch.cholesky_inverse(factor) - weights.outer(weights)) / 2
        # its gradient: the derivative of value is Σ pull·∂covariance + weights·∂error
        along = (pull * covariance).sum() + weights @ error
        gradient = parameters_to_vector(torch.autograd.grad(along / len(y), parameters))
        return float(value) / len(y) + math.log(2 * math.pi) / 2, gradient.numpy()

    start = parameters_to_vector(parameters).detach().numpy()
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[RANGE] * len(start),
        options={"maxiter": MOST_ITERATIONS},
    )  # fmt: skip
    vector_to_parameters(torch.as_tensor(found.x), parameters)
    return -float(found.fun)
