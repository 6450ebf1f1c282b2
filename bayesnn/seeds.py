"""Random streams that depend on a seed and a place in the work, on nothing else."""

from __future__ import annotations

import numpy as np
import torch


def seeded_generator(seed: int, *place: int) -> torch.Generator:
    """Return a CPU generator for one place in the work, such as (member,) or (slice, step).

    Streams of different places are independent, and a place's stream is the same whatever else is
    drawn, in whatever order: member 3 is the same in an ensemble of 5 and of 500. Draw on the CPU
    and move the result, so that devices agree bit for bit.

    Args:
        seed: non-negative seed of the whole run.
        place: non-negative integers that name the stream.

    Returns:
        A fresh `torch.Generator` on the CPU.

    Raises:
        ValueError: a negative seed or place.

    Example:
        >>> a = torch.randn(2, generator=seeded_generator(0, 3))
        >>> b = torch.randn(2, generator=seeded_generator(0, 3))
        >>> bool((a == b).all())
        True
    """
    if seed < 0 or any(p < 0 for p in place):
        raise ValueError(f"seed: expected whole numbers of at least 0, got {(seed, *place)}.")
    state = np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
