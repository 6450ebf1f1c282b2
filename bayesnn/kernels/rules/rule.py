"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from bayesnn.kernels.state import KernelState

Hyperparameters = Mapping[str, Tensor | float]  # a layer's own prior scales
Rule = Callable[[KernelState, Hyperparameters], KernelState]
