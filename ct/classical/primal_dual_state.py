"""Where a primal-dual iteration stands, for several slices at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class State:
    """Images and dual variables, and what the projector makes of them.

    Attributes:
        image: x.
        projection: A x.
        rays: q, one number a ray.
        backprojection: Aᵀ q.
        field: p, one number a difference of neighbouring pixels.
        bounds: m, one number a pixel; None where pixels have no bounds.
    """

    image: Float[Tensor, "slices rows columns"]
    projection: Float[Tensor, "slices views detectors"]
    rays: Float[Tensor, "slices views detectors"]
    backprojection: Float[Tensor, "slices rows columns"]
    field: Float[Tensor, "slices 2 rows columns"]
    bounds: Float[Tensor, "slices rows columns"] | None

    def combined(self, function: Callable[..., Tensor], *others: State) -> State:
        """Return the state whose parts are a function of this state's and the others'."""
        parts: dict[str, Any] = {}
        for part in dataclasses.fields(State):
            values = [getattr(state, part.name) for state in (self, *others)]
            parts[part.name] = None if values[0] is None else function(*values)
        return State(**parts)

    def select(self, slices: Int64[Tensor, " some"]) -> State:
        """Return the state of some of the slices."""
        return self.combined(lambda value: value[slices])

    def with_slices(self, slices: Int64[Tensor, " some"], new: State) -> State:
        """Return the state with some of the slices put in from another."""
        return self.combined(lambda old, value: old.index_copy(0, slices, value), new)
