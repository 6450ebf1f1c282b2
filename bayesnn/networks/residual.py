"""Residual blocks."""

from __future__ import annotations

from torch import Tensor, nn

from bayesnn.checks import check_positive


class Residual(nn.Module):
    """A residual block, y = x + scale · F(x).

    With L blocks and scale = 1/√L the variance stays bounded as L → ∞ (Stable ResNet; Hayou et
    al., 2021, arXiv 2010.12859).

    Args:
        branch: F, from a shape to the same shape.
        scale: the factor of F(x).

    Raises:
        ValueError: a scale that is not positive.

    Example:
        >>> import torch
        >>> block = Residual(nn.Sequential(nn.ReLU(), nn.Linear(4, 4)), scale=0.5)
        >>> block(torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, branch: nn.Module, *, scale: float = 1.0) -> None:
        super().__init__()
        self.branch = branch
        self.scale = check_positive(scale, "scale")

    def forward(self, x: Tensor) -> Tensor:
        """Return x + scale · F(x), of x's shape."""
        y: Tensor = x + self.scale * self.branch(x)
        return y

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"scale={self.scale}"
