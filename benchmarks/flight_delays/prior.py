"""Scales of the network's prior, and the noise, from the infinite-width marginal likelihood."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.gp import maximise_marginal_likelihood
from bayesnn.kernels import NetworkKernel, ntk, with_input_scales
from bayesnn.networks import Erf, NTKLinear
from bayesnn.seeds import seeded_generator

PLACE = (0, 11)  # of the random stream that draws rows
START = 0.8  # of σ, in standard deviations of the delays
# Few rows' evidence can have a second maximum, of smooth functions, where a start at 1 may end:
# of 250,000 rows these miss what validation days show, so the search comes from the rough side.
ROUGH = 4.0
FURTHEST = 1.0  # standard deviations to which delays are drawn in while scales are chosen
MOST_ITERATIONS = 40
SMALLER = 0.4
INPUT = "input_scale"


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Scales for standardised data; hidden weights and all biases are N(0, 1) in NTK form.

    Attributes:
        input_scales: what each feature is multiplied by before the network sees it.
        readout_std: of the last layer's weights.
        noise_std: σ, where noise depends on x that about which it varies.
        log_evidence: log marginal likelihood a row, of targets that were drawn in.
        rows: how many rows chose.
    """

    input_scales: tuple[float, ...]
    readout_std: float
    noise_std: float
    log_evidence: float
    rows: int

    def smaller(self) -> Prior:
        """Return the prior of smaller functions: the read-out's scale times 0.4."""
        return dataclasses.replace(self, readout_std=SMALLER * self.readout_std)

    def inputs(self, x: Float[Tensor, "n 8"]) -> Float[Tensor, "n 8"]:
        """Return features as the network sees them."""
        return x * x.new_tensor(self.input_scales)

    def network(self, *, outputs: int, width: int, depth: int, seed: int) -> nn.Sequential:
        """Return the erf network, for features that `inputs` gave; all neural methods share it."""
        generator, sizes = seeded_generator(seed), [len(self.input_scales), *[width] * depth]
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            hidden = NTKLinear(fan_in, fan_out, weight_std=1.0, bias_std=1.0, generator=generator)
            layers += [hidden, Erf()]
        readout = NTKLinear(
            sizes[-1], outputs, weight_std=self.readout_std, bias_std=1.0, generator=generator
        )
        return nn.Sequential(*layers, readout)

    def kernel(self, *, depth: int) -> NetworkKernel:
        """Return its NTK at infinite width, for features that `inputs` gave."""
        return ntk(self.network(outputs=1, width=1, depth=depth, seed=0))


def each_input(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return a group for each input's scale and one for the read-out's weights."""
    # of hidden scales that are chosen too, likelihoods know less than of these
    names = list(names)
    readout = [name for name in names if name.endswith("weight_std")][-1]
    return [(readout,), *((name,) for name in names if name.endswith(INPUT))]


def fit_prior(
    x: Float[Tensor, "n 8"],
    y: Float[Tensor, " n"],
    *,
    depth: int,
    rows: int,
    device: str,
    seed: int,
) -> Prior:
    """Choose the scales by the NTK's marginal likelihood on random rows.

    Delays are heavy tailed and the likelihood is Gaussian: a few flights that are ten hours late
    would choose the scales. So targets are drawn in to ±1 standard deviation for that, to the
    bulk that Student's t attends to; the variance which this takes away counts as noise.

    Args:
        x: standardised features of the training rows.
        y: standardised targets.
        depth: hidden layers.
        rows: how many rows are drawn.
        device: where the likelihood is evaluated.
        seed: of the draw.

    Returns:
        The scales.
    """
    taken = random_rows(len(x), rows, seed=seed)
    features = x.shape[1]
    start = Prior(
        input_scales=(ROUGH,) * features, readout_std=1.0, noise_std=START, log_evidence=0.0, rows=0
    )
    drawn_in = y.clamp(-FURTHEST, FURTHEST)
    found = maximise_marginal_likelihood(
        with_input_scales(start.kernel(depth=depth), start.input_scales),
        x[taken].to(device), drawn_in[taken].to(device), noise_std=START, groups=each_input,
        max_iterations=MOST_ITERATIONS,
    )  # fmt: skip
    scales = {name: float(value) for name, value in found.kernel.hyperparameters.items()}
    lost = float(y.var(correction=0) - drawn_in.var(correction=0))
    return Prior(
        input_scales=tuple(scales[f"{j}.{INPUT}"] for j in range(features)),
        readout_std=[value for name, value in scales.items() if name.endswith("weight_std")][-1],
        noise_std=math.sqrt(found.noise_std**2 + lost),
        log_evidence=found.log_marginal_likelihood / len(taken),
        rows=len(taken),
    )


def random_rows(n: int, size: int, *, seed: int) -> Tensor:
    """Return `size` of n row numbers, at most all, ascending."""
    return torch.randperm(n, generator=seeded_generator(seed, *PLACE))[:size].sort().values
