"""Deep ensembles: independent initialisations, each trained on the data as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bayesnn.networks import draw_initial_params
from ensembles.methods.plain_value import PlainValue
from ensembles.methods.protocol import MemberDraw, Params, Shift


@dataclass(frozen=True, kw_only=True)
class DeepEnsemble(PlainValue):
    """δ = 0, no regulariser, targets unperturbed; build it with `deep_ensemble()`."""

    name: ClassVar[str] = "deep_ensemble"
    perturbs_targets: ClassVar[bool] = False
    needs_readout: ClassVar[bool] = False

    def draw(self, network: nn.Module, *, generator: torch.Generator) -> MemberDraw:
        """Return θ₀, drawn from the prior."""
        return MemberDraw(start=draw_initial_params(network, generator=generator), shift={})

    def center(self, network: nn.Module, start: Params) -> None:
        """Return None: there is no regulariser."""

    def shift(self, network: nn.Module, shift: Shift, x: Tensor) -> None:
        """Return None: there is no fixed function."""


def deep_ensemble() -> DeepEnsemble:
    """Return the deep ensemble of Lakshminarayanan et al., 2017, arXiv 1612.01474.

    Its members have covariance K (NNGP) at initialisation. It is no posterior and, in the wide
    limit, never wider than `ntkgp_param`: keep it as the baseline.

    Returns:
        The method, for `EnsembleRegressor(method=...)`.

    Example:
        >>> deep_ensemble().name
        'deep_ensemble'
    """
    return DeepEnsemble()
