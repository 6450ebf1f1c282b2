"""The problems: data, test points, noise, and a network of any width."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bayesnn.gp import gp_posterior
from bayesnn.kernels import ntk
from bayesnn.networks import Erf, NTKConv2d, NTKLinear, describe, mlp, resnet
from bayesnn.reference_file import Reference, load_reference, save_reference

REFERENCES = Path(__file__).parent.parent / "references"
DEPTH = 50  # residual blocks


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One data set and one architecture.

    Attributes:
        name: of the part.
        what: in words.
        network: the network of a width.
        x: inputs, float64.
        y: targets, [n].
        points: test points.
        noise_std: σ.
    """

    name: str
    what: str
    network: Callable[[int], nn.Module]
    x: Tensor
    y: Tensor
    points: Tensor
    noise_std: float

    @property
    def path(self) -> Path:
        """The reference file that neural-tangents wrote."""
        return REFERENCES / f"{self.name}.safetensors"

    def write_reference(self) -> None:
        """Let neural-tangents compute the NTKGP posterior."""
        from bayesnn.interop.neural_tangents import reference_posterior

        reference = reference_posterior(
            self.network(8), self.x, self.y, self.points, distribution="ntkgp",
            noise_std=self.noise_std,
        )  # fmt: skip
        self.path.parent.mkdir(exist_ok=True)
        save_reference(reference, self.path)

    def reference(self) -> tuple[Reference, str]:
        """Return the NTKGP posterior by our kernels, and how far the file's is, in words."""
        network = self.network(8)
        kernel = ntk(network)
        own = gp_posterior(kernel, self.x, self.y, self.points, noise_std=self.noise_std)
        assert own.covariance is not None
        reference = Reference(
            distribution="ntkgp", network=describe(network), noise_std=self.noise_std,
            time=math.inf, x=self.x, y=self.y[:, None], x_test=self.points, mean=own.mean[:, None],
            covariance=own.covariance, prior_variance=kernel.diagonal(self.points),
            computed_by="bayesnn",
        )  # fmt: skip
        said = "Reference: the exact NTKGP posterior by `bayesnn.kernels` and `bayesnn.gp`"
        return reference, said + (self._referee(reference) if self.path.exists() else ".")

    def _referee(self, own: Reference) -> str:
        found = load_reference(self.path)
        if found.data_digest() != own.data_digest():
            raise ValueError(f"{self.path}: for other data; run with --write-references.")
        mean = ((own.mean - found.mean).squeeze(1) / found.covariance.diagonal().sqrt()).abs().max()
        covariance = (own.covariance - found.covariance).norm() / found.covariance.norm()
        return (
            f"; that of {found.computed_by} is {mean:.0e} posterior standard deviations from its "
            f"mean at most, and {covariance:.0e} from its covariance (Frobenius, relative)."
        )


def toy() -> Problem:
    """Return the paper's toy: y = x sin x with a gap, and 50 points in [−6, 6]."""
    rng = np.random.default_rng(2020)
    x = np.concatenate([rng.uniform(-2, -2 / 3, 10), rng.uniform(2 / 3, 2, 10)])
    y = x * np.sin(x) + 0.1 * rng.standard_normal(20)

    def network(width: int) -> nn.Module:
        return mlp(
            in_features=1, out_features=1, width=width, depth=2, activation=Erf(), weight_std=1.5,
            bias_std=0.05,
        )  # fmt: skip

    return Problem(
        name="toy", what="the paper's toy, MLP of two hidden layers with erf, 20 points, σ = 0.1",
        network=network, x=torch.tensor(x)[:, None], y=torch.tensor(y),
        points=torch.linspace(-6, 6, 50, dtype=torch.float64)[:, None], noise_std=0.1,
    )  # fmt: skip


def digits() -> Problem:
    """Return even against odd digits.

    Test points are training images with a little noise (near the data), other digits, and other
    digits with their pixels mixed.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(images))[:110]
    images = (images[rows] - 4.9) / 6.0  # all pixels' mean and standard deviation
    known = images[:15] + 0.03 * rng.standard_normal((15, 64))
    mixed = rng.permuted(images[95:], axis=1)
    points = np.concatenate([known, images[60:80], mixed]).reshape(-1, 1, 8, 8)

    def network(width: int) -> nn.Module:
        return nn.Sequential(
            NTKConv2d(1, width, kernel_size=4, stride=2), Erf(),
            NTKConv2d(width, width, kernel_size=2), Erf(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), NTKLinear(width, 1),
        )  # fmt: skip

    return Problem(
        name="digits",
        what="even or odd (±1) on 8×8 digits, convolutions 4×4 of stride 2 and 2×2 with erf, then "
        "the mean over pixels, 60 images, σ = 0.1; test points: 15 of these with a little noise, "
        "20 other digits, and 15 with their pixels mixed",
        network=network, x=torch.tensor(images[:60].reshape(-1, 1, 8, 8)),
        y=torch.tensor(1.0 - 2.0 * (labels[rows[:60]] % 2)), points=torch.tensor(points),
        noise_std=0.1,
    )  # fmt: skip


def sphere(n: int, dimension: int, seed: int) -> Tensor:
    """Return points on the unit sphere."""
    draws: Tensor = torch.tensor(np.random.default_rng(seed).standard_normal((n, dimension)))
    return nn.functional.normalize(draws, dim=1)


def stable_resnet() -> Problem:
    """Return a smooth function on the sphere for a ResNet of 50 blocks, scaled by 1/√50."""
    x = sphere(40, 3, 1)
    known = x[:15] + 0.02 * sphere(15, 3, 4)
    points = torch.cat([nn.functional.normalize(known, dim=1), sphere(35, 3, 3)])
    noise = torch.tensor(np.random.default_rng(2).standard_normal(40))

    def network(width: int) -> nn.Module:
        return resnet(
            in_features=3, out_features=1, width=width, depth=DEPTH, activation=nn.ReLU(),
            weight_std=math.sqrt(2), bias_std=0.0,
        )  # fmt: skip

    return Problem(
        name="resnet",
        what=f"sin(3 x₁) + x₂ x₃ on the sphere, Stable ResNet of {DEPTH} blocks with ReLU, "
        "40 points, σ = 0.1; test points: 15 beside these, 35 anywhere",
        network=network, x=x, y=target(x) + 0.1 * noise, points=points, noise_std=0.1,
    )  # fmt: skip


def target(x: Tensor) -> Tensor:
    """Return the function on the sphere."""
    found: Tensor = torch.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2]
    return found


PROBLEMS = {"toy": toy, "digits": digits, "resnet": stable_resnet}
