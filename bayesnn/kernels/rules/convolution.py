"""Two-dimensional convolutions: covariances of the images' positions, averaged over the filter."""

from __future__ import annotations

from torch import Tensor, nn

from bayesnn.kernels.rules.dense import linear_rule
from bayesnn.kernels.rules.rule import Rule
from bayesnn.kernels.state import KernelState
from bayesnn.networks import NTKConv2d

Pair = tuple[int, int]


def convolution_rule(layer: NTKConv2d) -> Rule:
    """Return K'(p, q) = s_w²/|F| Σ_{δ ∈ F} K(p + δ, q + δ) + s_b², zero outside of the image.

    Source: Garriga-Alonso, Aitchison, Rasmussen, 2019, arXiv 1808.05587; Arora et al., 2019, arXiv
    1904.11955.
    """
    size, stride, padding = _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding)

    def mean_over_filter(state: KernelState) -> KernelState:
        if state.n_positions != 2:
            raise ValueError(
                "network: a convolution needs images [n, channels, rows, columns], got points "
                f"with {state.n_positions} dimensions of positions."
            )
        both = _mean_of_pairs if state.pairs else _mean
        return state.map(lambda values: both(values, size, stride, padding))

    return linear_rule(layer, mean_over_filter)


def _mean(values: Tensor, size: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Return the mean over the filter of [..., rows, columns], with zeros around."""
    return _mean_along(values, ((-2,), (-1,)), size, stride, padding)


def _mean_of_pairs(values: Tensor, size: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Return the mean of [..., rows, columns, rows, columns] over one shift of both positions."""
    return _mean_along(values, ((-4, -2), (-3, -1)), size, stride, padding)


def _mean_along(
    values: Tensor,
    axes: tuple[tuple[int, ...], tuple[int, ...]],
    size: Pair,
    stride: Pair,
    padding: Pair,
) -> Tensor:
    """Return the mean over shifts along rows, then columns; axes that shift as one go together."""
    for dims, k, step, zeros in zip(axes, size, stride, padding, strict=True):
        values = _sum_of_shifts(values, dims, k, step, zeros)
    return values / (size[0] * size[1])


def _sum_of_shifts(
    values: Tensor, dims: tuple[int, ...], size: int, stride: int, padding: int
) -> Tensor:
    """Return Σ_i values[o·stride + i − padding], for i < size and zeros outside."""
    n = values.shape[dims[0]]
    n_out = (n + 2 * padding - size) // stride + 1
    total: Tensor | None = None
    # from the middle, where the shifted values cover the result
    for i in sorted(range(size), key=lambda i: abs(i - padding)):
        first = max(0, -((i - padding) // stride))
        last = min(n_out - 1, (n - 1 - i + padding) // stride)
        if last < first:
            continue
        source, target = values, total
        start = first * stride + i - padding
        stop = last * stride + i - padding + 1
        for dim in dims:
            source = _part(source, dim, slice(start, stop, stride))
        whole = last - first + 1 == n_out
        if target is None:
            shape = list(values.shape)
            for dim in dims:
                shape[dim] = n_out
            total = target = source.clone() if whole else values.new_zeros(shape)
            if whole:
                continue
        for dim in dims:
            target = _part(target, dim, slice(first, last + 1))
        target.add_(source)
    assert total is not None
    return total


def _part(values: Tensor, dim: int, part: slice) -> Tensor:
    after: list[slice] = [slice(None)] * (-1 - dim)
    return values[(Ellipsis, part, *after)]  # type: ignore[index]


def _pair(value: int | tuple[int, int]) -> Pair:
    return (value, value) if isinstance(value, int) else value


def flatten_rule(state: KernelState, _: object) -> KernelState:
    """Return the mean over equal positions: the fan-in of what follows runs over them."""
    if state.n_positions == 0:
        return state

    def mean(values: Tensor) -> Tensor:
        if not state.pairs:
            return values.flatten(-state.n_positions).mean(-1)
        size = values.shape[-state.n_positions :].numel()
        square = values.reshape(*values.shape[: -2 * state.n_positions], size, size)
        return square.diagonal(dim1=-2, dim2=-1).mean(-1)

    return state.map(mean, n_positions=0, pairs=False)


def pooling_rule(module: nn.AvgPool2d) -> Rule:
    """Return the rule of average pooling, the mean over windows of both positions."""
    size = _pair(module.kernel_size)
    stride = _pair(module.stride)
    padding = _pair(module.padding)
    if (
        module.ceil_mode
        or module.divisor_override
        or not (module.count_include_pad or padding == (0, 0))
    ):
        raise ValueError(
            "network: average pooling has a kernel rule with whole windows alone, where zeros of "
            "the padding count (ceil_mode=False, count_include_pad=True, no divisor_override)."
        )

    def rule(state: KernelState, _: object) -> KernelState:
        _check_pairs(state)

        def mean(values: Tensor) -> Tensor:
            # second positions, then first
            once = _mean(values, size, stride, padding)
            moved = once.movedim((-4, -3), (-2, -1))
            return _mean(moved, size, stride, padding).movedim((-2, -1), (-4, -3))

        return state.map(mean)

    return rule


def global_pooling_rule(module: nn.AdaptiveAvgPool2d) -> Rule:
    """Return the mean over all pairs of positions, which keeps one position."""
    size = module.output_size
    if size not in {1, (1, 1)}:
        raise ValueError(f"network: pooling to the size {size!r} has no kernel rule, only to 1.")

    def rule(state: KernelState, _: object) -> KernelState:
        _check_pairs(state)

        def mean(values: Tensor) -> Tensor:
            return values.mean((-4, -3, -2, -1), keepdim=True)

        return state.map(mean)

    return rule


def _check_pairs(state: KernelState) -> None:
    if state.n_positions != 2 or not state.pairs:
        raise ValueError("network: pooling needs images [n, channels, rows, columns].")
