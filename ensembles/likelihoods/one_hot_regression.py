"""Classes by regression on their indicators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_positive
from ensembles.losses import SquaredError
from ensembles.noise import fit_noise


@dataclass(frozen=True, kw_only=True)
class OneHotRegression:
    """Class indicators = f̃(x) + σ·ε; build it with `one_hot_regression()`.

    Attributes:
        noise_std: σ, in units of the indicators; None where it is estimated.
    """

    name: ClassVar[str] = "one_hot_regression"
    noise_std: float | None = None

    def targets(self, one_hot: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """Return the indicators with mean 0, and variance 1 where classes are balanced."""
        n_classes = one_hot.shape[1]
        return (one_hot - 1 / n_classes) * _unit(n_classes)

    def loss(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        *,
        seed: int,
        row_weight: Tensor | None,
    ) -> SquaredError:
        """Return squares, with one σ for all classes."""
        n_classes = targets.shape[1]
        if self.noise_std is None:
            fit = fit_noise(network, inputs, targets, seed=seed, row_weight=row_weight)
            noise = fit.noise_std.square().mean().sqrt()
        else:
            noise = torch.tensor(self.noise_std * _unit(n_classes), dtype=torch.float64)
        return SquaredError(noise_std=noise.to(targets.device).expand(n_classes))


def one_hot_regression(*, noise_std: float | None = None) -> OneHotRegression:
    """Return regression on class indicators: fast, and exact as a posterior of functions.

    Members are posterior samples of the function behind the indicators as in regression, with
    Gaussian noise σ; their probabilities are softmax(f̃/T), with T fitted on held-out rows (He,
    Lakshminarayanan, Teh, 2020, arXiv 2007.05864, treat classes so). The indicators are centred and
    multiplied by c/√(c − 1), to variance 1 where the c classes are balanced, which makes T = 1
    bearable where too few rows are there to fit it.

    Args:
        noise_std: σ in units of the indicators 0 and 1; None estimates it by marginal likelihood.

    Returns:
        The likelihood, for `EnsembleClassifier(likelihood=...)`.

    Raises:
        ValueError: a noise_std that is not positive.

    Example:
        >>> one_hot_regression(noise_std=0.1).noise_std
        0.1
    """
    return OneHotRegression(
        noise_std=None if noise_std is None else check_positive(noise_std, "noise_std")
    )


def _unit(n_classes: int) -> float:
    """Return one over the standard deviation of the indicators of balanced classes."""
    return n_classes / math.sqrt(n_classes - 1)
