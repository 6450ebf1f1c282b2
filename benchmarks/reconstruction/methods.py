"""The variants that are compared: names, how they are made, and how many slices they get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ct
from benchmarks.reconstruction.scans import Simulated
from ct.inr.pixel_grid import PixelGrid
from ct.problem import Method

ALL = 10**6
FEW = 3
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
    """Return TV, converged, with the one weight that has the highest mean PSNR over the slices."""
    from benchmarks.reconstruction.tv_grid import highest, solve_grid

    scores, weights, _ = solve_grid(data, tolerance=3e-3)
    return ct.tv(weight=highest(weights, scores.mean(1))[0], tolerance=3e-3)


def published(data: Simulated) -> Method:
    """Return the published configuration, which is told the range of the image's values."""
    return ct.published_mc_dropout(
        steps=PUBLISHED_STEPS, lowest=0.0, highest=float(data.truth.max())
    )


def jackknife_of_tv(data: Simulated) -> Method:
    """Return the same error bars around total variation's image."""
    del data
    return ct.jackknife(mean=ct.tv())


PUBLISHED_STEPS = 10_000
"""The public code's figures at hand are those after so many."""

ENTRIES = (
    Entry(name="fbp", make=public("fbp")),
    Entry(name="sirt", make=public("sirt")),
    Entry(name="cgls", make=public("cgls")),
    Entry(name="tv-best-weight", make=best_tv, uses_truth=True),
    Entry(name="tv", make=public("tv")),
    Entry(name="bm3d", make=public("bm3d")),
    Entry(name="default", make=lambda _: None),
    Entry(name="jackknife-tv", make=jackknife_of_tv, slices=FEW),
    Entry(name="mc-dropout", make=public("mc_dropout"), slices=FEW),
    Entry(name="infinite-width", make=public("infinite_width")),
    Entry(name="ensemble", make=public("ensemble"), slices=FEW),
    Entry(name="ensemble-dropout", make=public("ensemble", {"dropout": 0.2}), slices=FEW),
    Entry(name="ntkgp", make=public("ntkgp"), slices=ONE),
    Entry(name="mean-field", make=public("mean_field"), slices=FEW),
    Entry(
        name="mean-field-pixels", make=public("mean_field", {"network": PixelGrid()}), slices=FEW
    ),
    Entry(name="laplace", make=public("laplace"), slices=ONE),
    Entry(name="hmc", make=public("hmc"), slices=ONE),
    Entry(name="hmc-pixels", make=public("hmc", {"network": PixelGrid()}), slices=ONE),
    Entry(name="published", make=published, slices=ONE, uses_truth=True),
)


def chosen(names: str | None) -> list[Entry]:
    """Return the variants of those names, in the table's order.

    Args:
        names: separated by commas; "cheap" for those that get all slices, "costly" for the others;
            None for all.

    Raises:
        ValueError: a name that none has.

    Example:
        >>> [entry.name for entry in chosen("tv,fbp")]
        ['fbp', 'tv']
    """
    groups = {
        "cheap": {entry.name for entry in ENTRIES if entry.slices == ALL},
        "costly": {entry.name for entry in ENTRIES if entry.slices < ALL},
    }
    known = [entry.name for entry in ENTRIES]
    wanted: set[str] = set()
    for name in known if names is None else names.split(","):
        wanted |= groups.get(name, {name})
    if unknown := wanted - set(known):
        raise ValueError(
            f"--methods: expected cheap, costly or some of {', '.join(known)}, got "
            f"{', '.join(sorted(unknown))}."
        )
    return [entry for entry in ENTRIES if entry.name in wanted]
