"""A network's prior chosen by the infinite-width marginal likelihood of training rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.gp.marginal_likelihood import maximise_marginal_likelihood
from bayesnn.kernels import NetworkKernel, ntk, with_input_scales
from bayesnn.networks import Erf, NTKLinear
from bayesnn.seeds import seeded_generator

Groups = Callable[[Iterable[str]], Sequence[tuple[str, ...]]]

DEPTH = 1  # hidden layers
MOST_ROWS = 2000  # by which scales are chosen; the posterior takes all rows
MOST_ITERATIONS = 40
FIRST_NOISE = 0.3  # of targets with variance 1
SMALLEST_NOISE = 1e-3
PLACE = (0, 8)  # of the rows' random stream
INPUT = ".input_scale"


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Scales of an erf network's weights and biases, of its inputs, and of the noise.

    Attributes:
        weight_stds: s_w of each linear layer.
        bias_stds: s_b of each linear layer.
        input_scales: what each input is multiplied by before the network sees it.
        noise_std: σ.
        first_evidence: log marginal likelihood of a row where the search began.
        evidence: the same where it ended.
        converged: whether the optimiser says that it is at a maximum.
    """

    weight_stds: tuple[float, ...]
    bias_stds: tuple[float, ...]
    input_scales: tuple[float, ...]
    noise_std: float
    first_evidence: float
    evidence: float
    converged: bool

    def inputs(self, X: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return rows as the network sees them."""
        return X * X.new_tensor(self.input_scales)

    def network(self, *, width: int, seed: int) -> nn.Sequential:
        """Return a network with this prior, for rows that `inputs` gave."""
        generator = seeded_generator(seed, *PLACE)
        last = len(self.weight_stds) - 1
        layers: list[nn.Module] = []
        fan_in = len(self.input_scales)
        for i, (weight_std, bias_std) in enumerate(
            zip(self.weight_stds, self.bias_stds, strict=True)
        ):
            fan_out = 1 if i == last else width
            layers.append(
                NTKLinear(
                    fan_in, fan_out, weight_std=weight_std, bias_std=bias_std, generator=generator
                )
            )
            if i < last:
                layers.append(Erf())
            fan_in = fan_out
        return nn.Sequential(*layers)

    def kernel(self) -> NetworkKernel:
        """Return Θ of the network at infinite width, for rows that `inputs` gave."""
        return ntk(self.network(width=1, seed=0))


def each_input(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return a group for each input's scale and one for the read-out's weights; the rest stays.

    Hidden weights and biases that are chosen too drive erf to its ends, where a finite network is
    far from an infinite one: likelihoods rose little by it, and ensembles became worse.
    """
    (readout,), inputs = _readout_and_inputs(names)
    return [(readout,), *((name,) for name in inputs)]


def all_inputs(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return one group for all inputs' scales and one for the read-out's weights."""
    return _readout_and_inputs(names)


def _readout_and_inputs(names: Iterable[str]) -> list[tuple[str, ...]]:
    names = list(names)
    weights = [name for name in names if name.endswith(".weight_std")]
    return [(weights[-1],), tuple(name for name in names if name.endswith(INPUT))]


def choose_prior(
    X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, groups: Groups, seed: int
) -> Prior:
    """Return the prior that maximises the marginal likelihood of (at most 2,000 of) the rows.

    The scales of an erf network of infinite width, one of each layer's weights and biases, those
    of the inputs by `groups`, and σ. What was found for rows is remembered, as all methods of the
    family ask for the same.

    Args:
        X: standardised rows.
        y: standardised targets.
        groups: `each_input` (automatic relevance determination) or `all_inputs`.
        seed: of the rows that are taken, where there are more.

    Returns:
        The prior.
    """
    order = torch.randperm(len(X), generator=seeded_generator(seed, *PLACE))[:MOST_ROWS]
    rows = torch.cat((X, y.unsqueeze(1)), dim=1)[order].double()
    return _remembered(tuple(map(tuple, rows.tolist())), groups)


@lru_cache(maxsize=16)
def _remembered(rows: tuple[tuple[float, ...], ...], groups: Groups) -> Prior:
    table = torch.tensor(rows, dtype=torch.float64)
    X, y = table[:, :-1], table[:, -1]
    start = Prior(
        weight_stds=(1.0,) * (DEPTH + 1), bias_stds=(1.0,) * (DEPTH + 1),
        input_scales=(1.0,) * X.shape[1], noise_std=FIRST_NOISE,
        first_evidence=0.0, evidence=0.0, converged=False,
    )  # fmt: skip
    found = maximise_marginal_likelihood(
        with_input_scales(start.kernel(), start.input_scales), X, y,
        noise_std=FIRST_NOISE, groups=groups, max_iterations=MOST_ITERATIONS,
    )  # fmt: skip
    chosen = {name: float(value) for name, value in found.kernel.hyperparameters.items()}

    def ending(kind: str) -> tuple[float, ...]:
        return tuple(value for name, value in chosen.items() if name.endswith(kind))

    return Prior(
        weight_stds=ending(".weight_std"),
        bias_stds=ending(".bias_std"),
        input_scales=ending(INPUT),
        noise_std=max(found.noise_std, SMALLEST_NOISE),
        first_evidence=found.history[0] / len(rows),
        evidence=found.log_marginal_likelihood / len(rows),
        converged=found.converged,
    )
