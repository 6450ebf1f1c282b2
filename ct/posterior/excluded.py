"""Members or chains that diverged: left out, and named."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def excluded_names(good: Bool[Tensor, " members"], what: str) -> str:
    """Return the numbers of those that diverged, such as "2, 5"; empty if there are none.

    Args:
        good: which can be used.
        what: what they are, for the error: "ensemble: training of all members".

    Returns:
        The numbers, from 0, with commas between them.

    Raises:
        ValueError: all of them diverged.

    Example:
        >>> excluded_names(torch.tensor([True, True, False]), "ensemble: training of all members")
        '2'
    """
    if not bool(good.any()):
        raise ValueError(
            f"{what} diverged (numbers that are none, or images worse than the start); lower the "
            "learning rate, or check noise_std."
        )
    return ", ".join(str(index) for index, one in enumerate(good.tolist()) if not one)


def refilled(
    samples: Float[Tensor, "some rows columns"], n: int
) -> Float[Tensor, "samples rows columns"]:
    """Return n samples with exactly the mean and the unbiased covariance of fewer.

    A result has room for as many samples as its method promises. With k samples of mean m and
    deviations D, the others are m + √((n − 1)/(k − 1)) · QUᵀD, where the columns of U and Q are
    orthonormal bases of what is orthogonal to the constants: for k samples and for n.

    Args:
        samples: k of them, at least 2.
        n: how many there shall be, at least k.

    Returns:
        The samples themselves where n = k.

    Raises:
        ValueError: fewer than two samples, which have no spread.
    """
    k = len(samples)
    if k == n:
        return samples
    if k < 2:
        raise ValueError(
            f"only {k} of {n} members did not diverge, and one has no spread; lower the learning "
            "rate, or check noise_std."
        )
    mean = samples.mean(0)
    turned = _contrasts(n)[:, : k - 1] @ _contrasts(k).T
    factor = ((n - 1) / (k - 1)) ** 0.5
    added: Tensor = torch.tensordot(factor * turned.to(samples), samples - mean, dims=1)
    return mean + added


def _contrasts(n: int) -> Float[Tensor, "n less"]:
    """Return Helmert's orthonormal contrasts: columns that are orthogonal to the constants."""
    full = torch.cat([torch.ones(n, 1, dtype=torch.float64), torch.eye(n, dtype=torch.float64)], 1)
    basis: Tensor = torch.linalg.qr(full[:, :n]).Q
    return basis[:, 1:]
