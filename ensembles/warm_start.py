"""Fits that go on from an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch

from ensembles.gathered import FittedMembers
from ensembles.methods.protocol import Params


@runtime_checkable
class Fit(Protocol):
    """`fit_members` with all but these two arguments given."""

    def __call__(
        self, *, first: int = 0, start: Mapping[int, Params] | None = None
    ) -> FittedMembers:
        """Return trained members."""
        ...


def go_on(fit: Fit, earlier: FittedMembers, *, drawn: int, n_members: int) -> FittedMembers:
    """Return the earlier members with new ones beside them, or trained further.

    Args:
        fit: trains members.
        earlier: those of the last fit.
        drawn: how many members it had, with those that diverged.
        n_members: how many there shall be. If more, the earlier ones stay as they are and the new
            ones are trained; if as many, all are trained further, and those that had diverged
            start again.

    Returns:
        The members of both.

    Raises:
        ValueError: fewer members than there were.
    """
    if n_members < drawn:
        raise ValueError(
            f"n_members: expected at least the {drawn} of the last fit with warm_start=True, got "
            f"{n_members}; members cannot be taken away, set warm_start=False."
        )
    if n_members == drawn:
        return fit(
            start={
                number: {name: value[row] for name, value in earlier.params.items()}
                for row, number in enumerate(earlier.members)
            }
        )
    return _joined(earlier, fit(first=drawn))


def _joined(earlier: FittedMembers, new: FittedMembers) -> FittedMembers:
    def cat(before: Params, after: Params) -> Params:
        return {
            name: torch.cat((value.to(after[name]), after[name])) for name, value in before.items()
        }

    return FittedMembers(
        params=cat(earlier.params, new.params),
        shift={name: cat(params, new.shift[name]) for name, params in earlier.shift.items()},
        members=earlier.members + new.members,
        converged=earlier.converged + new.converged,
        n_steps=max(earlier.n_steps, new.n_steps),
    )
