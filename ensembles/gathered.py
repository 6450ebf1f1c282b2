"""Members that are trained in chunks, stacked as they come, so that memory holds them once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from ensembles.member_training import Part
from ensembles.methods.protocol import Params, Shift


@dataclass(frozen=True, kw_only=True)
class FittedMembers:
    """Trained members and what their fixed function needs, stacked.

    Attributes:
        params: θ.
        shift: the parameter sets of the fixed function, by name.
        members: the members' numbers; those that failed are missing.
        converged: which of them met the trainer's criterion.
        n_steps: most steps that were taken.
    """

    params: Params
    shift: Shift
    members: tuple[int, ...]
    converged: tuple[bool, ...]
    n_steps: int


class Gathered:
    """Takes the chunks of a fit, in any order, and gives the members that are finite."""

    def __init__(self, members: range) -> None:
        """Expect these members."""
        self._members = members
        self._stacks: dict[str, Params] = {}  # of θ, and of each set of the fixed function
        self._finite = torch.zeros(len(members), dtype=torch.bool)
        self._converged = torch.zeros(len(members), dtype=torch.bool)
        self._n_steps = 0

    def take(self, first: int, part: Part) -> None:
        """Take the members from `first` on, and empty the chunk."""
        shift, trained, finite = part
        rows = slice(first - self._members.start, first - self._members.start + len(finite))
        self._stack("params", rows, trained.params)
        for name, params in shift.items():
            self._stack(f"shift {name}", rows, params)
        self._finite[rows] = finite.cpu()
        self._converged[rows] = trained.converged.cpu()
        self._n_steps = max(self._n_steps, trained.n_steps)

    def fitted(self) -> FittedMembers:
        """Return the members that hold finite numbers; a warning names the others.

        Raises:
            FloatingPointError: none does.
        """
        finite = self._finite.tolist()
        failed = [i for i, good in zip(self._members, finite, strict=True) if not good]
        if len(failed) == len(finite):
            raise FloatingPointError(
                "training: every member diverged to NaN or infinity; scale the data, lower the "
                "learning rate, or use bounded activations."
            )
        if failed:
            warnings.warn(
                f"training: members {failed} of {len(finite)} diverged and are left out; scale "
                "the data or lower the learning rate.",
                RuntimeWarning,
                stacklevel=4,
            )
        kept = {
            name: _kept(params, self._finite) if failed else params
            for name, params in self._stacks.items()
        }
        return FittedMembers(
            params=kept.pop("params"),
            shift={name.removeprefix("shift "): params for name, params in kept.items()},
            members=tuple(i for i, good in zip(self._members, finite, strict=True) if good),
            converged=tuple(self._converged[self._finite].tolist()),
            n_steps=self._n_steps,
        )

    def _stack(self, name: str, rows: slice, params: Params) -> None:
        """Copy a chunk's tensors to their place; one that holds all members is the stack."""
        if rows == slice(0, len(self._members)):
            self._stacks[name] = dict(params)
        else:
            stacks = self._stacks.setdefault(name, {})
            for key, value in params.items():
                if key not in stacks:
                    stacks[key] = value.new_empty((len(self._members), *value.shape[1:]))
                stacks[key][rows] = value.detach()
        params.clear()


def _kept(params: Params, finite: Bool[Tensor, " m"]) -> Params:
    return {name: value[finite.to(value.device)] for name, value in params.items()}
