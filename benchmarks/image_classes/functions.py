"""Values of many functions at images, and what a method fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bayesnn.networks import NTKLinear, convnet
from bayesnn.seeds import seeded_generator
from benchmarks.image_classes.budget import Budget

CLASSES = 10

Functions: TypeAlias = Callable[[Tensor], Tensor]
"""Images [n, 1, side, side] to the values of members or draws, [m, n, classes]."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a method is fitted to, and by which means.

    Attributes:
        x: training images in the network's units, [n, 1, side, side].
        y: their classes, [n].
        n_members: how many to train, for ensembles.
        budget: the rest of what may be spent.
        seed: of all draws.
    """

    x: Tensor
    y: Tensor
    n_members: int
    budget: Budget
    seed: int

    def network(self, weight_std: float) -> nn.Sequential:
        """Return the convolutional network with weights of this prior scale.

        The read-out sees where features are: their mean over the image, `convnet`'s own, costs
        MNIST 3 points of accuracy, and the exact kernel all pairs of pixels.
        """
        width, generator = self.budget.width, seeded_generator(self.seed, 5)
        body = convnet(
            in_channels=1, out_features=CLASSES, width=width, depth=self.budget.depth,
            stride=2, activation=nn.ReLU(), weight_std=weight_std, generator=generator,
        )[:-3]  # fmt: skip
        side = math.ceil(self.x.shape[-1] / 2**self.budget.depth)
        readout = NTKLinear(
            width * side**2, CLASSES, weight_std=weight_std, bias_std=0.05, generator=generator
        )
        return nn.Sequential(*body, nn.Flatten(), readout)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting of one method.

    Attributes:
        said: the setting in words.
        fit: from the training part to functions.
    """

    said: str
    fit: Callable[[Training], Functions]


@dataclass(frozen=True, kw_only=True)
class Units:
    """The change from grey values to the network's units, of the training pixels alone."""

    mean: float
    std: float
    device: str

    @classmethod
    def of(cls, images: NDArray[np.float64], device: str) -> Units:
        """Return units in which all pixels together have mean 0 and variance 1."""
        return cls(mean=float(images.mean()), std=float(images.std()), device=device)

    def __call__(self, images: NDArray[np.float64]) -> Tensor:
        """Return images [n, side, side] as [n, 1, side, side] in float32."""
        scaled = torch.tensor((images - self.mean) / self.std, dtype=torch.float32)
        return scaled.unsqueeze(1).to(self.device)


def in_parts(functions: Functions, x: Tensor, *, size: int = 512) -> Tensor:
    """Return the values at all images, worked out in parts; float64, on the CPU."""
    parts: Sequence[Tensor] = [functions(part) for part in torch.split(x, size)]
    return torch.cat([part.detach().cpu().double() for part in parts], dim=1)
