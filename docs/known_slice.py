"""A slice whose truth is known: what each method makes of it, and what the error bars say.

Run: python docs/known_slice.py [--views 60] [--method NAME] [--settings JSON] [--output DIR]

pydicom's CT_small (128², its pixels divided by 3 and bins by 2 for the sinogram, 40 dB).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import ct
from bayesnn.files import atomic_write
from benchmarks.reconstruction.images import ct_small
from benchmarks.reconstruction.scans import simulated_finer, white
from ct.evaluation import evaluate
from ct.method_choice import choose_method
from ct.slice_scores import SliceScores


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What stands in the picture.

    Attributes:
        method: the Bayesian one's name.
        scores: of each image, by its name.
        width: mean width of the 95 % intervals, water being 1.
    """

    method: str
    scores: dict[str, SliceScores]
    width: float


def main(arguments: Sequence[str] | None = None) -> Shown:
    """Simulate, reconstruct three times, score and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--method", help="as the command line spells it; the default if left out")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON")
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    said = parser.parse_args(arguments)
    chosen = None if said.method is None else choose_method(said.method, said.settings)
    data = simulated_finer(ct_small(), views=said.views, measure_rays=white(40.0), device="cpu")
    problem, truth = data.problems[0], data.truth[0]
    results = {
        name: ct.reconstruct(
            problem.sinogram, data.scan, data.grid, method=method, noise_std=problem.noise_std
        )
        for name, method in (("FBP", ct.fbp()), ("TV", ct.tv()), ("mean", chosen))
    }
    scores = {name: evaluate(result, truth).mean for name, result in results.items()}
    best = results["mean"]
    assert best.std is not None
    lower, upper = best.interval(0.95)
    save(
        said.output / "known_slice.png",
        {
            "truth": truth,
            **{f"{name}, {scores[name].psnr:.1f} dB": one.mean for name, one in results.items()},
        },
        {
            "|error| of the mean": (best.mean - truth).abs(),
            "standard deviation": best.std,
            "width of 95 % intervals": upper - lower,
        },
    )
    shown = Shown(
        method=str(best.metadata["method"]),
        scores=scores,
        width=float((upper - lower).mean()),
    )
    print(shown)
    return shown


def save(
    path: Path,
    images: dict[str, Float[Tensor, "rows columns"]],
    errors: dict[str, Float[Tensor, "rows columns"]],
) -> None:
    """Draw images on one grey scale and what is said of errors with colours; two on one scale."""
    low, high = np.quantile(images["truth"].numpy(), [0.005, 0.995])
    largest = float(np.quantile(next(iter(errors.values())).numpy(), 0.995))
    columns = max(len(images), len(errors))
    figure = Figure(figsize=(3.0 * columns, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, (title, image) in zip(panels[0], images.items(), strict=False):
        axes.imshow(image.numpy(), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title, fontsize=10)
    for axes, (title, image) in zip(panels[1], errors.items(), strict=False):
        own = float(np.quantile(image.numpy(), 0.995))
        top = own if title.startswith("width") else largest  # error and its bar on one scale
        drawn = axes.imshow(image.numpy(), vmin=0, vmax=top, interpolation="nearest")
        axes.set_title(title, fontsize=10)
        figure.colorbar(drawn, ax=axes, shrink=0.8)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=75)


if __name__ == "__main__":
    main()
