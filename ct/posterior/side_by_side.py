"""Images of many members of one network, whose parameters are stacked along the first dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from bayesnn.inference.mc_dropout import Params, UnitDropout
from bayesnn.seeds import seeded_generator
from ct.inr.coordinates import CoordinateImage
from ensembles.side_by_side import over_members

Render: TypeAlias = Callable[[Params, int], Float[Tensor, "members rows columns"]]
"""From the members' parameters and the number of the training step to their images."""


def stacked(members: Sequence[Params]) -> Params:
    """Return the parameters of several members as one tensor a name.

    Example:
        >>> stacked([{"w": torch.zeros(3)}, {"w": torch.ones(3)}])["w"].shape
        torch.Size([2, 3])
    """
    return {name: torch.stack([one[name] for one in members]) for name in members[0]}


def member(params: Params, index: int) -> Params:
    """Return the parameters of one member.

    Example:
        >>> member({"w": torch.tensor([[1.0], [2.0]])}, 1)
        {'w': tensor([2.])}
    """
    return {name: value[index] for name, value in params.items()}


def render_members(
    network: CoordinateImage, params: Params, held: Params | None = None
) -> Float[Tensor, "members rows columns"]:
    """Return the images of all members, side by side by `torch.func.vmap`.

    Args:
        network: what all members are; its own parameters are not used.
        params: θ of each member, stacked.
        held: buffers in which members differ, stacked (`differing_buffers`).

    Returns:
        f_θ at all pixels.
    """

    def one(own: Params, fixed: dict[str, Params]) -> Tensor:
        image: Tensor = functional_call(network, own | fixed.get("held", {}), ())
        return image

    fixed = {"held": held} if held else {}
    if len(next(iter(params.values()))) == 1:  # alone, it is spared what vmap costs
        return one(member(params, 0), {k: member(v, 0) for k, v in fixed.items()})[None]
    return over_members(one, params, fixed, network=network)


def differing_buffers(networks: Sequence[CoordinateImage]) -> Params:
    """Return those buffers of some networks, stacked, that are not the same in all of them.

    Args:
        networks: of one kind, such as Fourier networks with frequencies of their own.

    Returns:
        The buffers, by name.
    """
    each = [dict(network.named_buffers()) for network in networks]
    return {
        name: torch.stack([one[name] for one in each])
        for name, value in each[0].items()
        if not all(torch.equal(value, one[name]) for one in each[1:])
    }


def plain_rendering(network: CoordinateImage, held: Params | None = None) -> Render:
    """Return the members' images as they are, whatever the step.

    Args:
        network: what all members are.
        held: buffers in which members differ, stacked.

    Returns:
        What `train_members` takes.
    """
    return lambda params, _: render_members(network, params, held)


def dropout_rendering(
    network: CoordinateImage,
    dropout: UnitDropout,
    *,
    seeds: Sequence[int],
    held: Params | None = None,
) -> Render:
    """Return the members' images under masks that are new at each step.

    A mask depends on the member's seed and the step alone, so members do not depend on who is
    trained beside them, and training that was interrupted goes on with the same masks.

    Args:
        network: what all members are.
        dropout: the distribution of the masks.
        seeds: one for each member.
        held: buffers in which members differ, stacked.

    Returns:
        What `train_members` takes.
    """

    def render(params: Params, step: int) -> Tensor:
        drawn = dict(params)
        for name, masks in stacked([
            dropout.masks(member(params, index), generator=seeded_generator(seed, step))
            for index, seed in enumerate(seeds)
        ]).items():
            drawn[name] = params[name] * masks
        return render_members(network, drawn, held)

    return render
