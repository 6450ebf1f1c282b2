"""Mean and standard deviation of samples that come one by one, from several sources."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RunningMoments:
    """What is known of a distribution after some samples.

    Deviations are taken from the running mean (B. P. Welford, Technometrics 4, 1962): no more
    than three arrays of a sample's size are held, and a large mean costs no digits.

    Attributes:
        count: how many samples.
        mean: their mean.
        squares: sum of the squared deviations from it.

    Example:
        >>> moments = RunningMoments.none(torch.zeros(1))
        >>> for value in (1.0, 3.0):
        ...     moments = moments.after(torch.tensor([value]))
        >>> moments.mean, moments.std
        (tensor([2.]), tensor([1.4142]))
    """

    count: int
    mean: Float[Tensor, "*shape"]
    squares: Float[Tensor, "*shape"]

    @classmethod
    def none(cls, like: Tensor) -> RunningMoments:
        """Return the moments of no samples of that shape."""
        return cls(count=0, mean=torch.zeros_like(like), squares=torch.zeros_like(like))

    @property
    def std(self) -> Float[Tensor, "*shape"]:
        """The unbiased standard deviation; at least two samples are needed."""
        return (self.squares / (self.count - 1)).sqrt()

    def after(self, sample: Float[Tensor, "*shape"]) -> RunningMoments:
        """Return the moments with one sample more."""
        count = self.count + 1
        deviation = sample - self.mean
        mean = self.mean + deviation / count
        squares = self.squares + deviation * (sample - mean)
        return RunningMoments(count=count, mean=mean, squares=squares)

    def together(self, other: RunningMoments) -> RunningMoments:
        """Return the moments of the samples of both.

        Source:
            T. F. Chan, G. H. Golub, R. J. LeVeque, The American Statistician 37, 1983.
        """
        count = self.count + other.count
        if count == 0:
            return self
        apart = other.mean - self.mean
        return RunningMoments(
            count=count,
            mean=self.mean + apart * (other.count / count),
            squares=self.squares
            + other.squares
            + apart.square() * (self.count * other.count / count),
        )
