"""Torch's process-wide settings that change numbers, so that workers compute as the caller does."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class TorchSettings:
    """Settings of one process.

    Attributes:
        dtype: of new floating tensors.
        precision: of float32 matrix products, see `torch.set_float32_matmul_precision`.
        deterministic: whether operations without a deterministic version are refused.
        warn_only: whether they are used nevertheless, with a warning.
    """

    dtype: torch.dtype
    precision: str
    deterministic: bool
    warn_only: bool

    def apply(self) -> None:
        """Make these the settings of the process."""
        now = torch_settings()
        torch.set_default_dtype(self.dtype)
        if self.precision != now.precision:
            torch.set_float32_matmul_precision(self.precision)
        if (self.deterministic, self.warn_only) != (now.deterministic, now.warn_only):
            # not before it is needed: it imports half of torch's compiler, which takes seconds
            torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)


def torch_settings() -> TorchSettings:
    """Return the settings of this process."""
    return TorchSettings(
        dtype=torch.get_default_dtype(),
        precision=torch.get_float32_matmul_precision(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
