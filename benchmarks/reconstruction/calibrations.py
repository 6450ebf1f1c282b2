"""Variants as they come out of their fit, and with error bars that held-out views correct."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ct
from ct.inr.pixel_grid import PixelGrid
from ct.problem import Method

AS_FITTED, BY_VIEWS, BY_FOLDS = "as fitted", "held-out views", "folds of views"
HELD_OUT = 0.1
"""Of the views: the share that is held out where a method asks for one."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A method whose error bars held-out views may correct.

    Attributes:
        name: in tables, and for --methods.
        make: from the share of views that are held out, 0 for none, to the method.
        ways: how its error bars can be made.
    """

    name: str
    make: Callable[[float], Method]
    ways: tuple[str, ...] = (AS_FITTED, BY_VIEWS)

    def method(self, way: str) -> Method:
        """Return the method whose error bars are made that way."""
        return self.make(HELD_OUT if way == BY_VIEWS else 0.0)


def variants(*, quick: bool) -> tuple[Calibrated, ...]:
    """Return the variants, cheap ones first.

    Args:
        quick: a few steps or samples of three of them, to see that all runs.
    """
    if quick:
        few: dict[str, Any] = {"steps": 20, "n_samples": 8}
        return (
            Calibrated(name="jackknife", make=_jackknife(n_folds=3), ways=(BY_FOLDS,)),
            Calibrated(
                name="infinite-width",
                make=lambda share: ct.infinite_width(held_out=share, n_samples=8),
            ),
            Calibrated(name="mc-dropout", make=lambda share: ct.mc_dropout(held_out=share, **few)),
        )
    pixels = PixelGrid()
    return (
        Calibrated(name="jackknife", make=_jackknife(n_folds=10), ways=(BY_FOLDS,)),
        Calibrated(name="infinite-width", make=lambda share: ct.infinite_width(held_out=share)),
        Calibrated(
            name="mean-field-pixels",
            make=lambda share: ct.mean_field(network=pixels, held_out=share),
        ),
        Calibrated(name="mc-dropout", make=lambda share: ct.mc_dropout(held_out=share)),
        Calibrated(name="mean-field", make=lambda share: ct.mean_field(held_out=share)),
        Calibrated(name="laplace", make=lambda share: ct.laplace(held_out=share)),
        Calibrated(name="ensemble", make=lambda share: ct.ensemble(held_out=share)),
        Calibrated(
            name="ensemble-dropout",
            make=lambda share: ct.ensemble(dropout=0.2, held_out=share),
        ),
        Calibrated(name="ntkgp", make=lambda share: ct.ntkgp(held_out=share)),
        Calibrated(name="hmc-pixels", make=lambda share: ct.hmc(network=pixels, held_out=share)),
    )


def _jackknife(n_folds: int) -> Callable[[float], Method]:
    return lambda _: ct.jackknife(n_folds=n_folds)
