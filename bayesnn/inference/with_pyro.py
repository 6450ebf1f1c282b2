"""What inference built on Pyro shares: loading it, and lending it random numbers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch

from bayesnn.seeds import seeded_generator


def load_pyro(module: str) -> ModuleType:
    """Return a module of Pyro, which loads on first use.

    Args:
        module: its name, such as "pyro.infer".

    Raises:
        ImportError: Pyro is not installed.

    Example:
        >>> load_pyro("pyro.infer.mcmc").NUTS.__name__
        'NUTS'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            "HMC and mean-field inference need the package pyro-ppl, which is not installed; "
            "run pip install pyro-ppl."
        ) from error


@contextmanager
def lent_randomness(device: torch.device, seed: int, *place: int) -> Iterator[None]:
    """Let code that draws from torch's global generators draw from a stream of its own.

    Inside, the global generators of the CPU and of `device` start from (seed, place); after it
    they are as they were. Pyro's samplers know no other source of randomness.

    Args:
        device: where the code computes.
        seed: seed of the whole run.
        place: names the stream, as in `bayesnn.seeds.seeded_generator`.

    Yields:
        Nothing.

    Example:
        >>> before = torch.get_rng_state()
        >>> with lent_randomness(torch.device("cpu"), 0, 3):
        ...     first = torch.randn(2)
        >>> with lent_randomness(torch.device("cpu"), 0, 3):
        ...     bool((torch.randn(2) == first).all())
        True
        >>> bool((torch.get_rng_state() == before).all())
        True
    """
    stream = seeded_generator(seed, *place).initial_seed()
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(stream)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(stream)
        yield
