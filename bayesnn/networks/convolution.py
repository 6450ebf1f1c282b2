"""A convolution that knows the prior of its own parameters."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_count, check_positive
from bayesnn.networks.layers import draw_from_prior


class NTKConv2d(nn.Module):
    """A two-dimensional convolution in NTK parametrisation.

    y = weight_std/√fan_in · W * x + bias_std · b with fan_in = in_channels · kernel_size², and all
    W, b ~ N(0, 1) under the prior, so the prior precision is 1 throughout (Arora et al., 2019,
    arXiv 1904.11955). A kernel of size 1 is an `NTKLinear` at every pixel.

    Args:
        in_channels: channels of x.
        out_channels: channels of y.
        kernel_size: side of the kernel.
        stride: pixels between neighbouring outputs.
        padding: zeros around x on each side; kernel_size // 2 keeps the size of the image if the
            kernel's side is odd.
        weight_std: prior standard deviation of the weights, times √fan_in.
        bias_std: prior standard deviation of the bias; 0 leaves the bias out.
        generator: source of the initial values; torch's default generator if None.

    Raises:
        ValueError: a size or stride below 1, a negative padding or bias_std, a weight_std that is
            not positive.

    Example:
        >>> layer = NTKConv2d(3, 8, kernel_size=3, stride=2, padding=1)
        >>> layer(torch.zeros(5, 3, 16, 16)).shape
        torch.Size([5, 8, 8, 8])
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        weight_std: float = 1.5,
        bias_std: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = check_count(in_channels, "in_channels")
        self.out_channels = check_count(out_channels, "out_channels")
        self.kernel_size = check_count(kernel_size, "kernel_size")
        self.stride = check_count(stride, "stride")
        self.padding = check_count(padding, "padding", minimum=0)
        self.weight_std = check_positive(weight_std, "weight_std")
        self.bias_std = 0.0 if bias_std == 0 else check_positive(bias_std, "bias_std")
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if self.bias_std > 0 else None
        self.reset_parameters(generator=generator)

    @property
    def fan_in(self) -> int:
        """Number of inputs of each output: in_channels · kernel_size²."""
        return self.in_channels * self.kernel_size**2

    def own_prior_precision(self) -> dict[str, float]:
        """Return 1 for each parameter."""
        return {name: 1.0 for name, _ in self.named_parameters(recurse=False)}

    def reset_parameters(self, *, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew from their prior."""
        draw_from_prior(self, self.own_prior_precision(), generator)

    def forward(
        self, x: Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch out_channels out_height out_width"]:
        """Return the layer's output; x may have one batch dimension, or none."""
        times = torch.ops.aten.mul.Scalar  # cheaper than `*` in forward mode
        weight = times(self.weight, self.weight_std / math.sqrt(self.fan_in))
        bias = None if self.bias is None else times(self.bias, self.bias_std)
        return nn.functional.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        names = ("kernel_size", "stride", "padding", "weight_std", "bias_std")
        settings = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"{self.in_channels}, {self.out_channels}, {settings}"
