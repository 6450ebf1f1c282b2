"""Networks of all layer kinds that have a kernel rule, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesnn.networks import (
    AttentionMixing,
    Cosine,
    Erf,
    NTKConv2d,
    NTKLinear,
    Residual,
    Sine,
    StandardLinear,
    TokenMean,
)
from bayesnn.seeds import seeded_generator

Draw = Callable[[st.SearchStrategy[Any]], Any]
IN_FEATURES, TOKENS, SIDE = 3, 4, 6


@dataclass(frozen=True)
class RandomNetwork:
    """A network in double precision, and the shape of one point."""

    module: nn.Sequential
    shape: tuple[int, ...]

    def points(self, n: int, seed: int = 0) -> Tensor:
        """Return n points from N(0, 1)."""
        return torch.randn(n, *self.shape, dtype=torch.float64, generator=seeded_generator(seed, n))


class Layers:
    """Draws layers one after the other, of one width and one stream of initial values."""

    def __init__(self, draw: Draw, width: int, outputs: int = 2) -> None:
        self.draw, self.width, self.outputs = draw, width, outputs
        self.generator = seeded_generator(self.pick(range(100)))

    def pick(self, of: Any) -> Any:
        return self.draw(st.sampled_from(of))

    def scales(self) -> dict[str, float]:
        return {"weight_std": self.pick([0.8, 1.4]), "bias_std": self.pick([0.0, 0.3])}

    def activation(self) -> nn.Module:
        make: list[Callable[[], nn.Module]] = [
            Erf, nn.ReLU, nn.GELU, lambda: nn.LeakyReLU(0.2), lambda: Sine(frequency=0.8),
            lambda: Cosine(frequency=1.3), nn.Identity,
        ]  # fmt: skip
        return self.pick(make)()

    def linear(self, fan_in: int | None = None, fan_out: int | None = None) -> nn.Module:
        kind = self.pick([NTKLinear, StandardLinear])
        return kind(
            fan_in or self.width, fan_out or self.width, generator=self.generator, **self.scales()
        )

    def residual(self, *branch: nn.Module) -> nn.Module:
        return Residual(nn.Sequential(*branch), scale=self.pick([0.4, 1.0]))


def _vectors(layers: Layers, strict: bool) -> RandomNetwork:
    width = layers.width
    blocks: dict[str, Callable[[], list[nn.Module]]] = {
        "plain": lambda: [layers.activation(), layers.linear()],
        "norm": lambda: [_norm(width), layers.activation(), layers.linear()],
        "norm first": lambda: [
            layers.residual(_norm(width), layers.linear(), layers.activation(), layers.linear())
        ],
        "residual": lambda: [layers.residual(layers.activation(), layers.linear())],
    }
    if not strict:
        blocks["norm last"] = lambda: [layers.activation(), _norm(width), layers.linear()]
        blocks["activation, residual"] = lambda: [
            layers.activation(),
            layers.residual(layers.linear(), layers.activation(), _norm(width)),
            layers.linear(),
        ]
    body = _blocks(layers, blocks)
    readout = layers.linear(fan_out=layers.outputs)
    return _network((IN_FEATURES,), layers.linear(IN_FEATURES), *body, layers.activation(), readout)


def _sequences(layers: Layers, strict: bool) -> RandomNetwork:
    width = layers.width

    def mixing() -> nn.Module:
        return AttentionMixing(TOKENS, generator=layers.generator, logit_std=1.5)

    blocks: dict[str, Callable[[], list[nn.Module]]] = {
        "tokens": lambda: [layers.activation(), layers.linear()],
        "mixing": lambda: [layers.activation(), mixing(), layers.linear()],
        "attention": lambda: [layers.residual(_norm(width), mixing(), layers.linear())],
        "mixing first": lambda: [mixing(), layers.activation(), layers.linear()],
    }
    if not strict:
        blocks["norm last"] = lambda: [layers.activation(), mixing(), _norm(width), layers.linear()]
    body = _blocks(layers, blocks)
    end: list[nn.Module] = [TokenMean(), layers.linear(fan_out=layers.outputs)]
    if layers.pick([True, False]):
        end = [nn.Flatten(), layers.linear(TOKENS * width, layers.outputs)]
    start = layers.linear(IN_FEATURES)
    return _network((TOKENS, IN_FEATURES), start, *body, layers.activation(), *end)


def _images(layers: Layers, strict: bool) -> RandomNetwork:
    width = layers.width

    def convolution(channels: int, size: int, stride: int, padding: int) -> nn.Module:
        return NTKConv2d(
            channels, width, kernel_size=size, stride=stride, padding=padding,
            generator=layers.generator, **layers.scales(),
        )  # fmt: skip

    def same() -> nn.Module:
        return convolution(width, 3, 1, 1)

    blocks: dict[str, Callable[[], list[nn.Module]]] = {
        "same": lambda: [layers.activation(), same()],
        "residual": lambda: [layers.residual(layers.activation(), same())],
        "norm": lambda: [nn.LayerNorm([width, SIDE, SIDE], elementwise_affine=False)],
    }
    if not strict:
        blocks["norm last"] = lambda: [
            layers.activation(), nn.LayerNorm([width, SIDE, SIDE], elementwise_affine=False),
            same(),
        ]  # fmt: skip
    size, stride, padding = layers.pick([(3, 1, 1), (3, 2, 1), (2, 2, 0), (3, 1, 2), (1, 1, 0)])
    head = [
        *_blocks(layers, blocks),
        layers.activation(),
        convolution(width, size, stride, padding),
    ]
    pooling: list[list[nn.Module]] = [
        [], [nn.AvgPool2d(2)], [nn.AvgPool2d(3, stride=2, padding=1)], [nn.AvgPool2d(2, stride=1)],
    ]  # fmt: skip
    head += [layers.activation(), *layers.pick(pooling)]
    start = convolution(2, 3, 1, 1)
    if layers.pick([True, False]):
        head += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    else:
        head += [nn.Flatten()]
    with torch.no_grad():
        features = nn.Sequential(start, *head).double()(torch.zeros(1, 2, SIDE, SIDE).double())
    return _network((2, SIDE, SIDE), start, *head, layers.linear(features.shape[1], layers.outputs))


def _norm(width: int) -> nn.Module:
    return nn.LayerNorm(width, elementwise_affine=False, eps=1e-3)


def _blocks(layers: Layers, blocks: dict[str, Callable[[], list[nn.Module]]]) -> list[nn.Module]:
    names = [layers.pick(list(blocks)) for _ in range(layers.pick(range(3)))]
    return [layer for name in names for layer in blocks[name]()]


def _network(shape: tuple[int, ...], *layers: nn.Module) -> RandomNetwork:
    return RandomNetwork(nn.Sequential(*layers).double(), shape)


KINDS = {"vectors": _vectors, "sequences": _sequences, "images": _images}


@st.composite
def random_networks(
    draw: Draw, kind: str, *, width: int = 5, outputs: int = 2, strict: bool = False
) -> RandomNetwork:
    """Return a strategy for networks of vectors, sequences or images.

    Args:
        draw: hypothesis's.
        kind: of KINDS.
        width: units of hidden layers.
        outputs: number of outputs.
        strict: with no more than neural-tangents has rules for: there, layer normalisation and
            residual sums need Gaussian inputs.
    """
    return KINDS[kind](Layers(draw, width, outputs), strict)
