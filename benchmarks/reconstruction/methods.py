"""The variants that are compared: names, how they are made, and how many slices they get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

import ct
from benchmarks.reconstruction.scans import Simulated
from ct.inr.fourier_network import FourierNetwork
from ct.inr.links import sigmoid
from ct.inr.pixel_grid import PixelGrid
from ct.problem import Method

ALL = 10**6
FEW = 2
ONE = 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A variant.

    Attributes:
        name: in tables, and for --methods.
        make: from the scans to the method; None stands for the package's default.
        slices: how many slices it gets at most, the first of the data set: its cost class.
        uses_truth: whether it saw the truth, so that it can only be compared with.
    """

    name: str
    make: Callable[[Simulated], Method | None]
    slices: int = ALL
    uses_truth: bool = False


def public(name: str, settings: Mapping[str, Any] | None = None) -> Callable[[Simulated], Method]:
    """Return what makes `ct.NAME(**settings)`; a name that is not there yet is found missing late.

    Args:
        name: of the function.
        settings: by keyword.
    """

    def make(data: Simulated) -> Method:
        del data
        factory: Callable[..., Method] | None = getattr(ct, name, None)
        if factory is None:
            raise NotImplementedError(f"ct.{name} is not there")
        return factory(**(settings or {}))

    return make


def best_tv(data: Simulated) -> Method:
    """Return TV with the one weight that has the highest mean PSNR over the slices."""
    from benchmarks.reconstruction.tv_grid import highest, solve_grid

    scores, weights, _ = solve_grid(data, tolerance=1e-2)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return ct.tv(weight=highest(weights, scores.mean(1))[0])


PUBLISHED = {
    "network": FourierNetwork(link=sigmoid),
    "dropout": 0.2,
    "steps": 10_000,
    "learning_rate": 3e-4,
    "centre_steps": 0,
    "held_out": 0.0,
}

ENTRIES = (
    Entry(name="fbp", make=public("fbp")),
    Entry(name="sirt", make=public("sirt")),
    Entry(name="cgls", make=public("cgls")),
    Entry(name="tv-best-weight", make=best_tv, uses_truth=True),
    Entry(name="tv", make=public("tv")),
    Entry(name="default", make=lambda _: None),
    Entry(name="mc-dropout", make=public("mc_dropout")),
    Entry(name="infinite-width", make=public("infinite_width")),
    Entry(name="ensemble", make=public("ensemble"), slices=FEW),
    Entry(name="ntkgp", make=public("ntkgp"), slices=FEW),
    Entry(name="mean-field", make=public("mean_field"), slices=FEW),
    Entry(name="laplace", make=public("laplace"), slices=FEW),
    Entry(name="hmc", make=public("hmc"), slices=ONE),
    Entry(name="hmc-pixels", make=public("hmc", {"network": PixelGrid()}), slices=ONE),
    Entry(name="published", make=public("mc_dropout", PUBLISHED), slices=ONE),
)
