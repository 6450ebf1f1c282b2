"""All that further training steps depend on, as named tensors, and the way back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bayesnn.inference.mc_dropout import Params

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def state_of(
    params: Params,
    optimiser: torch.optim.Optimizer | None,
    notes: Mapping[str, Tensor],
    done: int,
) -> dict[str, Tensor]:
    """Return the state of a training that took `done` steps.

    Args:
        params: the parameters that the optimiser moves.
        optimiser: Adam; None where no step follows, so that its moments, twice the parameters,
            need not wait to be written.
        notes: what the training keeps beside them.
        done: number of steps.

    Returns:
        Tensors that later steps do not write to, by name.
    """
    state = {"done": torch.tensor(done)}
    for name, value in params.items():
        state[f"params/{name}"] = value.detach().clone()
        if optimiser is not None:
            for moment in _MOMENTS:
                state[f"{moment}/{name}"] = optimiser.state[value][moment].clone()
    return state | {f"notes/{name}": value.clone() for name, value in notes.items()}


def restore(
    state: Mapping[str, Tensor] | None,
    params: Params,
    optimiser: torch.optim.Optimizer,
    notes: dict[str, Tensor],
) -> int:
    """Take a state over, in place.

    Args:
        state: as `state_of` gave it; None for none.
        params: the parameters that the optimiser moves.
        optimiser: Adam.
        notes: what the training keeps beside them.

    Returns:
        How many steps were taken.
    """
    if state is None:
        return 0
    for name, value in params.items():
        with torch.no_grad():
            value.copy_(state[f"params/{name}"])
        if f"{_MOMENTS[0]}/{name}" in state:
            optimiser.state[value] = {
                moment: state[f"{moment}/{name}"].to(value.device, copy=True) for moment in _MOMENTS
            }
    for name in notes:
        notes[name] = state[f"notes/{name}"].to(notes[name].device)
    return int(state["done"])
