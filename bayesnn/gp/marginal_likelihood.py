"""Prior scales and noise chosen by the marginal likelihood of the training data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, OptimizeResult, minimize
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.gp.exact import fit_gp
from bayesnn.gp.regression import RegressionData, regression_data
from bayesnn.kernels import NetworkKernel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Groups = Callable[[Iterable[str]], Sequence[tuple[str, ...]]]

TILE = 256  # points a side, of which derivatives are taken at a time
FURTHEST = 1e3  # factor by which a scale may change
FORBIDDEN = 1e3  # nats a datum
NOISE_RANGE = (1e-4, 10.0)  # of σ, in root mean squares of y


@dataclass(frozen=True, kw_only=True)
class MarginalLikelihoodFit:
    """What `maximise_marginal_likelihood` came to.

    Attributes:
        kernel: the kernel with the scales that were chosen, as numbers in `hyperparameters`.
        noise_std: σ that was chosen.
        log_marginal_likelihood: log N(y | 0, K + σ²I) there.
        history: the same at the start and after each iteration.
        converged: whether the optimiser says that it is at a maximum.
        message: the optimiser's own words.
        at_bounds: groups of scales, or "noise_std", that ended at an end of their range: the data
            do not hold them.
    """

    kernel: NetworkKernel
    noise_std: float
    log_marginal_likelihood: float
    history: tuple[float, ...]
    converged: bool
    message: str
    at_bounds: tuple[tuple[str, ...], ...]


def by_kind(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return one group for all scales of one kind: all weight_std together, all bias_std.

    Args:
        names: of the kernel's prior scales, as in `NetworkKernel.hyperparameters`.

    Returns:
        The groups; the scales of one share a factor.

    Example:
        >>> by_kind(["0.weight_std", "0.bias_std", "2.weight_std"])
        [('0.weight_std', '2.weight_std'), ('0.bias_std',)]
    """
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name.rpartition(".")[2], []).append(name)
    return [tuple(group) for group in kinds.values()]


def one_by_one(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return a group of its own for each layer's scale.

    Args:
        names: of the kernel's prior scales, as in `NetworkKernel.hyperparameters`.

    Returns:
        The groups; the scales of one share a factor.

    Example:
        >>> one_by_one(["0.weight_std", "0.bias_std"])
        [('0.weight_std',), ('0.bias_std',)]
    """
    return [(name,) for name in names]


def maximise_marginal_likelihood(
    kernel: NetworkKernel,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    *,
    noise_std: float,
    groups: Groups = by_kind,
    max_iterations: int = 100,
) -> MarginalLikelihoodFit:
    """Choose weight, bias and noise scales that maximise log N(y | 0, K + σ²I), by L-BFGS-B.

    The scales of a group are multiplied by one factor, within 1e-3 … 1e3; σ stays within 1e-4 … 10
    root mean squares of y. Scales of 0 stay 0. Only the data given here are seen. All is float64,
    and derivatives go tile by tile: memory is that of three matrices of the points.

    Args:
        kernel: `bayesnn.kernels.ntk(network)` or `nngp(network)`; its scales are the start.
        x: training inputs, [n, ...].
        y: training targets, [n] or [n, outputs].
        noise_std: σ to start from.
        groups: which scales change together: `by_kind`, or `one_by_one`.
        max_iterations: of L-BFGS-B.

    Returns:
        The kernel and noise that were chosen, and how the search went.

    Raises:
        ValueError: bad data, or a start at which K + σ²I is not positive definite.

    Example:
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=1, out_features=1, width=8, depth=1, activation=Erf())
        >>> x = torch.linspace(-2, 2, 12, dtype=torch.float64).unsqueeze(1)
        >>> found = maximise_marginal_likelihood(ntk(net), x, x.squeeze(1).sin(), noise_std=0.5)
        >>> found.noise_std < 0.5 and found.history[-1] > found.history[0]
        True
    """
    check_count(max_iterations, "max_iterations")
    data = regression_data(x, y, dtype=torch.float64)
    start = {name: float(value) for name, value in kernel.hyperparameters.items()}
    names = groups([name for name, value in start.items() if value > 0])
    problem = _Problem(kernel=kernel, data=data, start=start, groups=names)
    size = float(data.y.square().mean().sqrt()) or 1.0
    ends = np.full((len(names) + 1, 2), [-math.log(FURTHEST), math.log(FURTHEST)])
    ends[-1] = np.log(size * np.array(NOISE_RANGE))
    begin = np.append(np.zeros(len(names)), math.log(check_positive(noise_std, "noise_std")))
    begin = begin.clip(ends[:, 0], ends[:, 1])
    history = [problem.value_and_gradient(begin)[0]]

    def after(intermediate_result: OptimizeResult) -> None:
        history.append(-float(intermediate_result.fun) * data.y.numel())

    found = minimize(
        problem.objective, begin, jac=True, method="L-BFGS-B", callback=after,
        bounds=Bounds(ends[:, 0], ends[:, 1]), options={"maxiter": max_iterations},
    )  # fmt: skip
    scales, noise = problem.scales(torch.tensor(found.x))
    near = np.isclose(found.x[:, None], ends, atol=1e-6).any(1)
    return MarginalLikelihoodFit(
        kernel=kernel.with_hyperparameters({name: float(one) for name, one in scales.items()}),
        noise_std=float(noise),
        log_marginal_likelihood=-float(found.fun) * data.y.numel(),
        history=tuple(history),
        converged=bool(found.success),
        message=str(found.message),
        at_bounds=tuple(
            group for group, is_near in zip([*names, ("noise_std",)], near, strict=True) if is_near
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """The log marginal likelihood as a function of log factors u and log σ."""

    kernel: NetworkKernel
    data: RegressionData
    start: dict[str, float]
    groups: Sequence[tuple[str, ...]]

    def scales(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the prior scales and σ."""
        factors = u.exp()
        scales = {
            name: self.start[name] * factors[i]
            for i, group in enumerate(self.groups)
            for name in group
        }
        return scales, factors[-1]

    def objective(self, u: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return minus the log marginal likelihood of one datum, and its gradient."""
        try:
            value, gradient = self.value_and_gradient(u)
        except ValueError:  # not positive definite there: no place to go to
            return FORBIDDEN, np.zeros_like(u)
        size = self.data.y.numel()  # steps of the first search are as long as the gradient
        return -value / size, -gradient / size

    def value_and_gradient(self, u: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return log N(y | 0, A), A = K + σ²I, and Σ G·∂A with G = ½(αᵀα − A⁻¹), α = A⁻¹y."""
        at = torch.tensor(u, dtype=torch.float64, device=self.data.x.device)
        with torch.no_grad():
            scales, noise = self.scales(at)
            kernel = self.kernel.with_hyperparameters(scales)
            process = fit_gp(kernel, self.data.x, self.data.y, noise_std=noise)
            value = float(process.log_marginal_likelihood())
            k = self.data.y.shape[1]
            outer = process.weights @ process.weights.mT
            pull = (outer - k * torch.cholesky_inverse(process.factor)) / 2
            gradient = torch.zeros_like(at)
            gradient[-1] = 2 * noise**2 * pull.trace()
        return value, (gradient + self._through_kernel(at, pull)).cpu().numpy()

    def _through_kernel(self, u: Tensor, pull: Tensor) -> Tensor:
        total = torch.zeros_like(u)
        if not self.groups:
            return total
        parts = torch.split(torch.arange(len(pull), device=u.device), TILE)
        for i, rows in enumerate(parts):
            for columns in parts[i:]:
                leaf = u.clone().requires_grad_()
                with torch.enable_grad():
                    kernel = self.kernel.with_hyperparameters(self.scales(leaf)[0])
                    same = columns is rows
                    x = self.data.x
                    tile = kernel(x[rows]) if same else kernel(x[rows], x[columns])
                    twice = 1.0 if same else 2.0
                    pulled = twice * (pull[rows[:, None], columns] * tile).sum()
                total += torch.autograd.grad(pulled, leaf)[0]
        return total
