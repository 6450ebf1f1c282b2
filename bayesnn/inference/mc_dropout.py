"""MC dropout: a posterior over functions whose parameters lose random units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count
from bayesnn.seeds import seeded_generator

Params: TypeAlias = dict[str, Tensor]
Axes: TypeAlias = tuple[int, ...]

_LEVELS = 1 << 16  # masks come from 16 random bits an entry: rates are exact to 1.5e-5


@dataclass(frozen=True, kw_only=True)
class UnitDropout:
    """The distribution q of parameters θ ⊙ z, with z = Bernoulli(1 − rate) / (1 − rate).

    One draw of z makes one function: evaluated anywhere, it is the same draw, so samples are
    joint over all inputs. The entries of a parameter that share a unit share its z. For dropout
    of the inputs of a linear layer, weight [out, in], the units lie along axis 1. E[θ ⊙ z] = θ.

    Attributes:
        units: for each parameter that loses units, the axes along which its units lie;
            parameters that are not named stay whole.
        rate: the probability that a unit is lost, at least 0 and below 1.

    Raises:
        ValueError: a rate outside [0, 1).

    Source:
        Y. Gal and Z. Ghahramani, Dropout as a Bayesian approximation, ICML 2016.

    Example:
        >>> dropout = UnitDropout(units={"weight": (1,)}, rate=0.5)
        >>> params = {"weight": torch.ones(3, 4), "bias": torch.ones(3)}
        >>> drawn = dropout.draw(params, generator=torch.Generator().manual_seed(1))
        >>> drawn["weight"][0], drawn["bias"]
        (tensor([2., 2., 0., 0.]), tensor([1., 1., 1.]))
        >>> bool((drawn["weight"] == drawn["weight"][0]).all())
        True
    """

    units: Mapping[str, Axes]
    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(
                f"dropout: expected a rate of at least 0 and below 1, got {self.rate}."
            )

    def draw(self, params: Params, *, generator: torch.Generator) -> Params:
        """Return one draw of θ ⊙ z, differentiable in θ.

        Args:
            params: θ, by name.
            generator: source of z, on the CPU; every device gets the same z.

        Returns:
            The parameters of one function.
        """
        masks = self.masks(params, generator=generator)
        return {
            name: value * masks[name] if name in masks else value for name, value in params.items()
        }

    def masks(self, params: Params, *, generator: torch.Generator) -> Params:
        """Return one draw of z, for those parameters that lose units.

        Args:
            params: θ, by name; only shapes, dtypes and devices count.
            generator: source of z, on the CPU; every device gets the same z.

        Returns:
            z by name, with size 1 along the axes on which no units lie.
        """
        if self.rate == 0:
            return {}
        return {
            name: self._mask(value, self.units[name], generator)
            for name, value in params.items()
            if name in self.units
        }

    def _mask(self, value: Tensor, axes: Axes, generator: torch.Generator) -> Tensor:
        shape = [n if axis in axes else 1 for axis, n in enumerate(value.shape)]
        # bits are drawn by the short, because drawing floats costs more than the rest of a step
        bits = torch.empty(shape, dtype=torch.int16)
        bits.random_(-_LEVELS // 2, _LEVELS // 2, generator=generator)
        kept = bits.to(value.device, non_blocking=True) >= round(self.rate * _LEVELS) - _LEVELS // 2
        return kept.to(value.dtype) / (1 - self.rate)


@dataclass(frozen=True, kw_only=True)
class SampleMoments:
    """What posterior samples of a function's values say.

    Attributes:
        mean: their mean.
        std: their unbiased standard deviation.
        samples: the samples themselves, [n_samples, ...]; None if they were not kept.
    """

    mean: Float[Tensor, "*shape"]
    std: Float[Tensor, "*shape"]
    samples: Float[Tensor, "samples ..."] | None = None


def sample_moments(
    samples: Iterator[Tensor], *, n_samples: int, keep_samples: bool = False
) -> SampleMoments:
    """Return mean and standard deviation of samples that come one by one.

    Deviations are taken from the running mean (B. P. Welford, Technometrics 4, 1962): no more
    than three arrays of a sample's size are held, and a large mean costs no digits.

    Args:
        samples: at least `n_samples` of them, of one shape.
        n_samples: how many to take.
        keep_samples: whether to keep them all.

    Returns:
        The moments.

    Raises:
        ValueError: fewer than two samples are asked for: they have no spread.

    Example:
        >>> moments = sample_moments(iter(torch.tensor([[1.0], [3.0]])), n_samples=2)
        >>> moments.mean, moments.std
        (tensor([2.]), tensor([1.4142]))
    """
    check_count(n_samples, "n_samples", minimum=2)
    kept: list[Tensor] = []
    first = next(samples)
    mean, squares = torch.zeros_like(first), torch.zeros_like(first)
    sample = first
    for count in range(1, n_samples + 1):
        if count > 1:
            sample = next(samples)
        deviation = sample - mean
        mean = mean + deviation / count
        squares = squares + deviation * (sample - mean)
        if keep_samples:
            kept.append(sample)
    std = (squares / (n_samples - 1)).sqrt()
    return SampleMoments(mean=mean, std=std, samples=torch.stack(kept) if kept else None)


def draw_functions(
    evaluate: Callable[[Params], Tensor], params: Params, dropout: UnitDropout, *, seed: int
) -> Iterator[Tensor]:
    """Yield the values of endlessly many functions drawn from the dropout posterior.

    Sample i depends on `seed` and i alone, so the first 10 of 50 are those of 10.

    Args:
        evaluate: from the parameters of one function to its values.
        params: the trained θ.
        dropout: the distribution of the masks.
        seed: seed of the samples.

    Yields:
        One function's values.

    Example:
        >>> weight = {"weight": torch.ones(1, 1000)}
        >>> dropout = UnitDropout(units={"weight": (1,)}, rate=0.2)
        >>> draws = draw_functions(lambda p: p["weight"].mean(), weight, dropout, seed=0)
        >>> 0.9 < float(next(draws)) < 1.1
        True
    """
    index = 0
    while True:
        with torch.no_grad():
            drawn = dropout.draw(params, generator=seeded_generator(seed, index))
            values = evaluate(drawn)
        yield values
        index += 1
