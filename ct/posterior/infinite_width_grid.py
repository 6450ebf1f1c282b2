"""A stationary covariance on the pixel grid: products and draws by FFT."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Float64
from scipy.fft import next_fast_len
from torch import Tensor

from bayesnn.seeds import seeded_generator

OffsetCovariance = Callable[[Float64[Tensor, "rows 1"], Float64[Tensor, "1 columns"]], Tensor]
"""From offsets (down, to the right) in pixels to the covariance, 1 at no offset."""

_NEGATIVE_SHARE = 1e-6  # of the spectrum's mass, that counts as rounding
_FARTHEST = 4  # times the image's side, how far the grid is padded at most


@dataclass(frozen=True, kw_only=True)
class GridKernel:
    """C, the correlation matrix of all pixels, as a filter on a padded periodic grid.

    A symmetric matrix whose entries depend on the offset of two pixels is a block of a larger
    circulant matrix, and FFTs diagonalise that. The padding is as wide as the correlation reaches,
    at most so wide that no two pixels meet around the edge, where products are exact anyway.

    Attributes:
        shape: rows and columns of the image.
        padded: rows and columns of the periodic grid.
        eigenvalues: of the circulant matrix, at the frequencies of `torch.fft.rfft2`.
        least_eigenvalue: its least eigenvalue over its largest: below 0, the circulant matrix is no
            covariance, although C is one.
        negative_share: sum of the negative eigenvalues over that of all, as sizes.
    """

    shape: tuple[int, int]
    padded: tuple[int, int]
    eigenvalues: Float[Tensor, "padded_rows frequencies"]
    least_eigenvalue: float
    negative_share: float

    @property
    def embedded(self) -> bool:
        """Whether the circulant matrix is a covariance, to rounding, so that `draw` may be used."""
        return self.negative_share <= _NEGATIVE_SHARE

    def times(
        self, images: Float[Tensor, "*batch rows columns"]
    ) -> Float[Tensor, "*batch rows columns"]:
        """Return C·v of each image v."""
        spectrum = torch.fft.rfft2(images, s=self.padded)
        return self._cropped(torch.fft.irfft2(spectrum.mul_(self.eigenvalues), s=self.padded))

    def draw(self, seed: int, places: range) -> Float[Tensor, "places rows columns"]:
        """Return exact draws from N(0, C), one a place of the random stream.

        Raises:
            ValueError: the circulant matrix is no covariance.
        """
        if not self.embedded:
            raise ValueError(
                f"infinite-width: the circulant embedding's least eigenvalue is "
                f"{self.least_eigenvalue:.2g} of its largest, so it is no covariance to draw from."
            )
        white = torch.stack([
            torch.randn(self.padded, dtype=torch.float64, generator=seeded_generator(seed, one))
            for one in places
        ])
        return self.from_weights(torch.fft.rfft2(white.to(self.eigenvalues)))

    def from_weights(
        self, weights: Complex[Tensor, "*batch padded_rows frequencies"]
    ) -> Float[Tensor, "*batch rows columns"]:
        """Return C^½ w, w being white on the padded grid, by its Fourier transform."""
        return self._cropped(torch.fft.irfft2(weights * self._root, s=self.padded))

    def to_weights(
        self, images: Float[Tensor, "*batch rows columns"]
    ) -> Complex[Tensor, "*batch padded_rows frequencies"]:
        """Return the Fourier transform of (C^½)ᵀ v: the adjoint of `from_weights` under `dot`."""
        weights: Tensor = torch.fft.rfft2(images, s=self.padded).mul_(self._root)
        return weights

    def dot(self, one: Tensor, other: Tensor) -> Float64[Tensor, "*batch"]:
        """Return the inner product of two weights on the padded grid; columns add up in float64."""
        products = torch.view_as_real(one) * torch.view_as_real(other)
        columns = products.sum((-3, -1)).double()  # torch adds up pairwise
        # the transform of real weights leaves out what mirrors: all columns but the outermost
        inner = columns[..., 1:-1].sum(-1)
        whole = columns[..., 0] + columns[..., -1] + 2 * inner
        return whole / (self.padded[0] * self.padded[1])

    @property
    def _root(self) -> Float[Tensor, "padded_rows frequencies"]:
        # what is clipped here is the rounding that `embedded` allows
        return self.eigenvalues.clamp(min=0).sqrt()

    def _cropped(self, images: Tensor) -> Tensor:
        return images[..., : self.shape[0], : self.shape[1]]


def grid_kernel(
    covariance: OffsetCovariance, shape: tuple[int, int], *, reach: float, like: Tensor
) -> GridKernel:
    """Return the correlation matrix of an image's pixels.

    Args:
        covariance: of two pixels by their offset, even in it; 1 at no offset.
        shape: rows and columns of the image.
        reach: offset in pixels from which on the covariance is negligible; infinity for never.
        like: a tensor of the device and dtype to compute in.

    Returns:
        The matrix; it was made in float64.

    Example:
        >>> kernel = grid_kernel(
        ...     lambda down, right: torch.exp(-down.square() - right.square()),
        ...     (2, 3), reach=6.0, like=torch.zeros(()).double(),
        ... )
        >>> unit = torch.zeros(2, 3, dtype=torch.float64)
        >>> unit[0, 0] = 1.0
        >>> [round(value, 4) for value in kernel.times(unit)[0].tolist()]
        [1.0, 0.3679, 0.0183]
    """
    padded = _padded(shape, reach)
    down, right = (_wrapped(n) for n in padded)
    values = covariance(down[:, None], right[None, :])
    if math.isinf(reach):
        # an even length has an offset that is its own opposite; no two pixels are so far apart
        values = (values + values.roll((-1, -1), (0, 1)).flip(0, 1)) / 2
    spectrum = torch.fft.rfft2(values).real
    full = torch.fft.fft2(values).real
    negative = float(full.clamp(max=0).abs().sum() / full.abs().sum())
    return GridKernel(
        shape=shape,
        padded=padded,
        eigenvalues=spectrum.to(like),
        least_eigenvalue=float(full.min() / full.max()),
        negative_share=negative,
    )


def negligible(dtype: torch.dtype) -> float:
    """Return a correlation that counts as none: a rounding error of the dtype, or little more."""
    return 1e-12 if dtype == torch.float64 else 1e-7


def _padded(shape: tuple[int, int], reach: float) -> tuple[int, int]:
    """Return lengths that keep pixels from meeting around the edge, and embed if they can."""
    lengths = [2 * n for n in shape]
    if math.isfinite(reach):
        far = math.ceil(reach)
        lengths = [max(n + min(far, n - 1), min(2 * far, _FARTHEST * n)) for n in shape]
    # even, so that the first and last column of a spectrum are the ones without a mirror image
    rows, columns = (2 * next_fast_len((n + 1) // 2) for n in lengths)
    return rows, columns


def _wrapped(n: int) -> Float64[Tensor, " n"]:
    """Return each index of a periodic grid as the offset from 0 that is nearest."""
    offsets: Tensor = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    return offsets
