"""The metric in which primal-dual steps are taken: a filter that undoes what AᵀA does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.classical.tv_differences import squared_frequency
from ct.geometry import ImageGrid, Scan
from ct.projectors.operator import Projector

_DENSITY = 2.0  # times the number of views that share a frequency; 1 to 4 make little difference
_LANCZOS_STEPS = 12
_MARGIN = 1.02  # for what the Lanczos iteration may miss


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Two filters that bound AᵀA and DᵀD from above, as quadratic forms.

    Attributes:
        projection: bound of AᵀA at each frequency of `torch.fft.rfft2`.
        difference: bound of DᵀD at each frequency: DᵀD of a periodic image.
        ones_projection: A1, the projection of an image of ones.
    """

    projection: Float[Tensor, "rows frequencies"]
    difference: Float[Tensor, "rows frequencies"]
    ones_projection: Float[Tensor, "views detectors"]


def apply_filter(
    image: Float[Tensor, "*batch rows columns"], response: Float[Tensor, "*#batch rows frequencies"]
) -> Float[Tensor, "*batch rows columns"]:
    """Return the image with its Fourier transform multiplied by a real response."""
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * response, s=image.shape[-2:])
    return filtered


def fourier_metric(operator: Projector, grid: ImageGrid, scan: Scan, like: Tensor) -> Metric:
    """Return the metric of a scan.

    A view sees the frequencies on a line through the origin. At frequency index r about
    views/(φ r) of the lines overlap, φ being the arc that they cover (at most π), and never less
    than one: so AᵀA is bounded by a (1 + 2 views/(φ r)), with the least `a`, which a Lanczos
    iteration finds. The rays' precisions need no bound: the steps in the sinogram see to them.

    Args:
        operator: A.
        grid: where the pixels are.
        scan: where the rays are.
        like: a tensor of the device and dtype to compute in.

    Returns:
        The metric.

    Source:
        Preconditioned primal-dual steps: T. Pock, A. Chambolle, ICCV 2011, here with a filter in
        place of their diagonal matrix, which no proximal step minds as long as it is the image's.
    """
    rows, columns = grid.shape
    device = like.device
    vertical = torch.fft.fftfreq(rows, dtype=torch.float64, device=device)[:, None]
    horizontal = torch.fft.rfftfreq(columns, dtype=torch.float64, device=device)
    radius = torch.hypot(vertical, horizontal) * max(rows, columns)
    arc = _arc(scan)
    projection = (1 + _DENSITY * scan.n_views / (arc * radius.clamp(min=0.5))).to(like.dtype)
    difference = (
        squared_frequency(rows, device)[:, None]
        + squared_frequency(columns, device)[: columns // 2 + 1]
    )
    root = projection.rsqrt()
    first = torch.randn(grid.shape, generator=seeded_generator(0)).to(like)

    def filtered_gram(image: Tensor) -> Tensor:
        seen = operator(apply_filter(image, root))
        return apply_filter(operator.T(seen), root)

    largest = _largest_eigenvalue(filtered_gram, first)
    # a scan that sees no pixel has nothing to bound
    scale = _MARGIN * largest if largest > 0 else 1.0
    return Metric(
        projection=scale * projection,
        difference=difference.to(like.dtype),
        ones_projection=operator(torch.ones(grid.shape, dtype=like.dtype, device=device)),
    )


def _largest_eigenvalue(
    gram: Callable[[Tensor], Tensor], first: Float[Tensor, "rows columns"]
) -> float:
    """Return an upper estimate of a symmetric map's largest eigenvalue, by Lanczos.

    The largest Ritz value is below it, and some eigenvalue is within the residual of the Ritz
    value; their sum is the estimate.
    """
    before, image = torch.zeros_like(first), first / first.norm()
    diagonal: list[float] = []
    beside: list[float] = [0.0]
    for _ in range(min(_LANCZOS_STEPS, first.numel())):
        new = gram(image) - beside[-1] * before
        diagonal.append(float((new * image).sum()))
        new -= diagonal[-1] * image
        beside.append(float(new.norm()))
        if beside[-1] <= 1e-6 * max(diagonal):
            break
        before, image = image, new / beside[-1]
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for k, value in enumerate(beside[1:-1]):
        matrix[k, k + 1] = matrix[k + 1, k] = value
    values, vectors = torch.linalg.eigh(matrix)
    return float(values[-1] + beside[-1] * vectors[-1, -1].abs())


def _arc(scan: Scan) -> float:
    """Return the angles that the views cover, modulo half a turn: all but the widest gap."""
    angles = sorted(angle % math.pi for angle in scan.angles)
    gaps = [b - a for a, b in zip(angles, [*angles[1:], angles[0] + math.pi], strict=True)]
    # the widest gap stands for its own step too, as large as an average one
    return (math.pi - max(gaps)) * len(angles) / max(len(angles) - 1, 1) or math.pi / len(angles)
