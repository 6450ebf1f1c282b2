"""UncertaINR's network as published: Fourier features, and a dropout mask for each pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bayesnn.checks import check_count, check_positive
from bayesnn.networks import FourierFeatures
from ct.inr.coordinates import pixel_coordinates
from ct.inr.counter_masks import keep_mask
from ct.inr.dropout_layers import DropoutLayers, padded_inputs, stride, unit_counters
from ct.projectors.triton_weights import can_run_kernels

_PLAIN_COPIES = 8  # of a layer's values, which autograd keeps, and masks in 64 bits
_OLDEST_GPU = (8, 0)  # with products of bfloat16


@dataclass(frozen=True, kw_only=True)
class PixelDropoutNetwork:
    """f(x) = sigmoid(MLP([sin(Bx + π/4), cos(Bx + π/4)])), with SiLU and dropout in the MLP.

    The inputs of every layer but the first lose units, those of each pixel on their own: errors
    of a draw are independent from pixel to pixel given the parameters. (`FourierNetwork` under
    `UnitDropout` takes one mask for the whole image, so that each draw is a function.) Weights
    start as N(0, 1/fan-in), biases uniformly within ±1/√fan-in.

    Attributes:
        n_frequencies: rows of B, drawn once from N(0, Ω₀²) and not trained.
        frequency_std: Ω₀, in radians per half the image's longer side.
        width: units of each hidden layer.
        depth: number of hidden layers.
        dropout: the share of the units that is lost.

    Raises:
        ValueError: a count below 1, a frequency_std that is not positive, a dropout outside [0, 1).

    Source:
        F. Vasconcelos, B. He, N. Singh, Y. W. Teh, UncertaINR, TMLR 2023, arXiv 2202.10847, and
        its code.

    Example:
        >>> network = PixelDropoutNetwork(
        ...     n_frequencies=8, frequency_std=40.0, width=16, depth=2, dropout=0.2
        ... )
        >>> image = network.build((6, 8), generator=torch.Generator().manual_seed(0))
        >>> image(torch.zeros(2, 2, dtype=torch.int32)).shape
        torch.Size([6, 8])
    """

    n_frequencies: int
    frequency_std: float
    width: int
    depth: int
    dropout: float

    def __post_init__(self) -> None:
        for name in ("n_frequencies", "width", "depth"):
            check_count(getattr(self, name), name)
        check_positive(self.frequency_std, "frequency_std")
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout: expected a rate of at least 0 and below 1, got {self.dropout!r}."
            )

    def build(self, shape: tuple[int, int], *, generator: torch.Generator) -> PixelDropoutImage:
        """Return a network for images of that shape."""
        return PixelDropoutImage(self, shape, generator=generator)


class PixelDropoutImage(nn.Module):
    """The network that `PixelDropoutNetwork` describes, for one image shape.

    On a GPU in float32 the products take bfloat16 factors, are summed in float32, and change
    float32 parameters; the masks are those of every other device.

    Attributes:
        pixels_at_once: for how many pixels all layers are kept at a time; None for all.
    """

    def __init__(
        self,
        config: PixelDropoutNetwork,
        shape: tuple[int, int],
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.shape = shape
        self._width, self._rate = config.width, config.dropout
        self.encoding = FourierFeatures(
            2, config.n_frequencies, frequency_std=config.frequency_std, generator=generator
        )
        points = pixel_coordinates(shape).reshape(-1, 2)
        self.register_buffer("pixels", points, persistent=False)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        fan_in = self.encoding.out_features
        for fan_out in [config.width] * config.depth + [1]:
            draw = torch.randn(fan_out, fan_in, generator=generator)
            self.weights.append(nn.Parameter(draw / math.sqrt(fan_in)))
            uniform = 2 * torch.rand(fan_out, generator=generator) - 1
            self.biases.append(nn.Parameter(uniform / math.sqrt(fan_in)))
            fan_in = fan_out
        self._inputs: Tensor | None = None
        self.pixels_at_once: int | None = None

    @property
    def arithmetic(self) -> str:
        """The type of the factors of all products, in words."""
        fused = _fused_layers(self.weights[0], self._width, self._rate)
        return "bfloat16 factors" if fused else str(self.weights[0].dtype).removeprefix("torch.")

    def forward(self, keys: Int32[Tensor, "hidden words"]) -> Float[Tensor, "rows columns"]:
        """Return the values at all pixel centres under the masks of these keys.

        Args:
            keys: one for each hidden layer, from `draw_keys`, on the parameters' device.

        Returns:
            The image, in [0, 1].
        """
        n = math.prod(self.shape)
        layers = _fused_layers(self.weights[0], self._width, self._rate)
        size = self.pixels_at_once or n
        if size < n:
            pieces = [
                # all but the result is computed again for the gradient, or memory would grow with n
                checkpoint(
                    self._piece, layers, keys, range(first, min(first + size, n)),
                    use_reentrant=False, preserve_rng_state=False,
                )
                for first in range(0, n, size)
            ]  # fmt: skip
            outputs = torch.cat(pieces)
        else:
            outputs = self._piece(layers, keys, range(n))
        return torch.sigmoid(outputs).reshape(self.shape)

    def that_fit(self, budget: int) -> int:
        """Return for how many pixels all layers take so many bytes in training, 1 at least."""
        if _fused_layers(self.weights[0], self._width, self._rate) is None:
            numbers, size = _PLAIN_COPIES * len(self.weights) * self._width, 8
        else:
            numbers, size = 2 * len(self.weights) * stride(self._width), 2
        features = 2 * stride(self.encoding.out_features)
        return max(1, min(budget // (size * (numbers + features)), math.prod(self.shape)))

    def _piece(
        self, layers: DropoutLayers | None, keys: Tensor, pixels: range
    ) -> Float[Tensor, " n"]:
        if layers is None:
            return self._plain_piece(keys, pixels)
        whole = len(pixels) == math.prod(self.shape)
        inputs = self._inputs if whole else None
        if inputs is None:
            inputs = padded_inputs(self._features(pixels), layers.operands)
        if whole:
            self._inputs = inputs  # which are the same in every step
        weights, biases = list(self.weights), list(self.biases)
        return layers(inputs, keys, weights, biases, first=pixels.start)[: len(pixels)]

    def _plain_piece(self, keys: Tensor, pixels: range) -> Float[Tensor, " n"]:
        hidden = self._features(pixels)
        counters = unit_counters(pixels.start, pixels.stop, self._width, device=hidden.device)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if index > 0:
                kept = keep_mask(keys[index - 1], counters, self._rate)
                hidden = nn.functional.silu(hidden) * kept / (1 - self._rate)
            hidden = nn.functional.linear(hidden, weight, bias)
        return hidden[:, 0]

    def _features(self, pixels: range) -> Float[Tensor, "n features"]:
        points = self.get_buffer("pixels")[pixels.start : pixels.stop]
        features: Tensor = self.encoding(points.to(self.encoding.frequencies))
        return features


def _fused_layers(like: Tensor, width: int, rate: float) -> DropoutLayers | None:
    if not (
        like.is_cuda
        and like.dtype == torch.float32
        and can_run_kernels(like.device)
        and torch.cuda.get_device_capability(like.device) >= _OLDEST_GPU
    ):
        return None
    from ct.inr import dropout_kernels

    return DropoutLayers(
        width=width, rate=rate, operands=torch.bfloat16, elementwise=dropout_kernels
    )
