"""Are small lesions seen in a reconstruction, is their contrast right, do its intervals hold it?

    python benchmarks/ct_lesions.py --data-dir DIR --device cuda                  (all variants)
    python benchmarks/ct_lesions.py --data-dir DIR --device cuda --methods tv,laplace --slices 0,4
    python benchmarks/ct_lesions.py --data-dir DIR --device cuda --quick          (under a minute)

Discs of radius 2, 3, 5 and 8 pixels and of 0.5, 1, 2 and 5 % of the slice's range are added to
slices of the AAPM challenge (DIR/aapm_val/slices.npz, 512², one patient), at random places in the
body, far apart; then the slices are projected (60 or 120 views, 40 dB) and reconstructed by each
variant of benchmarks/reconstruction/methods.py. Empty places, chosen alike, give the rate of false
alarms. Nothing is tuned on them. A variant that is absent, fails or is stopped stands in the table
with the reason.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import ct
from benchmarks.failures import FAILURES, said
from benchmarks.reconstruction.images import aapm, averaged
from benchmarks.reconstruction.methods import ENTRIES, Entry
from benchmarks.reconstruction.run import at_most
from benchmarks.reconstruction.scans import Simulated, simulated
from benchmarks.report import RESULTS, Report, command_line
from ct.lesion_scores import LesionScores, Score, score_lesions
from ct.lesion_study import Lesion, Observation, observe_lesions, place_lesions, with_lesions

RADII = (2.0, 3.0, 5.0, 8.0)
CONTRASTS = (0.005, 0.01, 0.02, 0.05)
FALSE_ALARMS = 0.1
SNR_DB = 40.0
QUICK_SIDE = 256

COLUMNS = (
    "method",
    "discs",
    "slices, discs",
    "detection",
    "AUC",
    "detection, by ratio",
    "AUC, by ratio",
    "claimed",
    "claimed where empty",
    "bias, % of contrast",
    "95 % interval of the disc's mean",
    "95 % intervals of its pixels",
    "seconds a slice",
)
NOTES = f"""\
Means over slices ± their standard errors; all slices are of one patient, so these speak of that
patient's slices. Detection is the share of discs whose contrast (the disc's mean minus that of a
ring around it) is above all but {100 * FALSE_ALARMS:.0f} % of the empty places of its radius; "by
ratio" takes the contrast over its posterior standard deviation, from joint samples. "Claimed" is
the share that the posterior itself calls there at that rate of false alarms, beside the share of
empty places that it calls discs: anatomy has contrasts too, so these are not
{100 * FALSE_ALARMS:.0f} % even where it is right. Bias is found minus true contrast over the
inserted one. Coverage is that of `region(disc).interval(0.95)` and of `interval(0.95)`."""


@dataclass(kw_only=True)
class Studied:
    """What one variant made of the slices.

    Attributes:
        name: the variant's.
        observations: of all discs and empty places.
        seconds: of each slice.
        error: why there are no more slices; empty where all went well.
    """

    name: str
    observations: list[Observation] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    error: str = ""


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--methods", help="names, separated by commas; all without it")
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--slices", help="such as 0,4: for every variant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=180.0, help="seconds that a slice may take")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds of the whole run")
    parser.add_argument("--output", type=Path, help="folder of the reports")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="to see that all run: one slice averaged to 256², discs of 2 and 3 pixels, a few "
        "seconds for each variant",
    )
    options = parser.parse_args(arguments)
    if options.data_dir is None:
        parser.error("name the data folder: --data-dir DIR, or BAYESNN_DATA")
    known = [entry.name for entry in ENTRIES]
    if options.methods and (unknown := set(options.methods.split(",")) - set(known)):
        parser.error(f"--methods: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    return options


def inserted(
    images: np.ndarray, *, radii: Sequence[float], contrasts: Sequence[float], seed: int
) -> tuple[np.ndarray, list[list[Lesion]]]:
    """Return the images with discs, and the discs of each."""
    lesions = [
        place_lesions(
            torch.from_numpy(image), radii=radii, contrasts=contrasts, seed=seed, index=index
        )
        for index, image in enumerate(images)
    ]
    changed = [
        with_lesions(torch.from_numpy(image), some).numpy()
        for image, some in zip(images, lesions, strict=True)
    ]
    return np.stack(changed), lesions


def study(
    entry: Entry,
    data: Simulated,
    lesions: list[list[Lesion]],
    *,
    slices: Sequence[int],
    limit: float,
    until: float,
    seed: int,
) -> Studied:
    """Reconstruct slice by slice and look at every disc."""
    studied = Studied(name=entry.name)
    try:
        method = entry.make(data)
        for index in slices:
            if time.monotonic() > until:
                studied.error = "not run: the time of the whole run was over"
                break
            problem, begin = data.problems[index], time.perf_counter()
            with at_most(min(limit, max(until - time.monotonic(), 0.1))):
                result = ct.reconstruct(
                    problem.sinogram,
                    data.scan,
                    data.grid,
                    method=method,
                    noise_std=problem.noise_std,
                    seed=seed,
                    first_slice=index,
                    keep_samples=True,
                )
                if problem.sinogram.is_cuda:
                    torch.cuda.synchronize()
            studied.seconds.append(time.perf_counter() - begin)
            studied.observations += observe_lesions(
                result, data.truth[index], lesions[index], slice_index=index
            )
    except FAILURES as error:
        studied.error = said(error)
    if data.truth.is_cuda:
        torch.cuda.empty_cache()
    return studied


def groups(
    observations: Sequence[Observation], ranges: Sequence[float]
) -> list[tuple[str, Callable[[Observation], bool]]]:
    """Return names and tests of the groups of discs that get a row: all, contrasts, radii."""
    made: list[tuple[str, Callable[[Observation], bool]]] = [("all", lambda _: True)]
    for share in CONTRASTS:

        def has_contrast(one: Observation, share: float = share) -> bool:
            return math.isclose(one.lesion.contrast, share * ranges[one.slice_index], rel_tol=1e-3)

        made.append((f"{100 * share:g} % of the range", has_contrast))
    for radius in RADII:

        def has_radius(one: Observation, radius: float = radius) -> bool:
            return one.lesion.radius == radius

        made.append((f"radius {radius:g}", has_radius))
    present = [one for one in observations if one.lesion.contrast != 0]
    return [(name, where) for name, where in made if any(where(one) for one in present)]


def rows(studied: Studied, ranges: Sequence[float]) -> list[tuple[str, ...]]:
    """Return the table's rows of one variant."""
    made = []
    if studied.observations:
        for name, where in groups(studied.observations, ranges):
            scores = score_lesions(studied.observations, false_alarms=FALSE_ALARMS, where=where)
            made.append((studied.name, name, *cells(scores), f"{np.median(studied.seconds):.2f}"))
    if studied.error:
        blank = ("",) * (len(COLUMNS) - 2)
        made.append((studied.name, f"stopped: {studied.error}", *blank))
    return made


def cells(scores: LesionScores) -> tuple[str, ...]:
    """Return scores as the table shows them."""
    return (
        f"{scores.n_slices}, {scores.n_lesions}",
        shown(scores.detection),
        shown(scores.auc),
        shown(scores.detection_by_ratio),
        shown(scores.auc_by_ratio),
        shown(scores.claimed),
        shown(scores.claimed_empty),
        shown(scores.bias, factor=100, digits=0),
        shown(scores.region_coverage),
        shown(scores.pixel_coverage),
    )


def shown(score: Score | None, *, factor: float = 1.0, digits: int = 2) -> str:
    """Return mean ± standard error; the mean alone of a single slice."""
    if score is None:
        return "–"
    mean = f"{factor * score.mean:.{digits}f}"
    return mean if math.isnan(score.error) else f"{mean} ± {factor * score.error:.{digits}f}"


def main(arguments: list[str] | None = None) -> Path:
    """Run all variants; the report is written after each."""
    options = parsed(arguments)
    begin = time.monotonic()
    images, radii, contrasts = aapm(options.data_dir), RADII, CONTRASTS
    if options.quick:
        images = averaged(images[:1], QUICK_SIDE).astype(np.float32)
        radii = RADII[:2]
        options.budget, options.limit = min(options.budget, 50.0), min(options.limit, 5.0)
        options.slices = "0"
    ranges = [float(image.max() - image.min()) for image in images]
    changed, lesions = inserted(images, radii=radii, contrasts=contrasts, seed=options.seed)
    data = simulated(changed, views=options.views, snr_db=SNR_DB, device=options.device)
    chosen = options.methods.split(",") if options.methods else None
    given = sys.argv[1:] if arguments is None else arguments
    kind = "quick_" * options.quick + options.device.split(":")[0]
    report = Report(
        name=f"ct_lesions_{options.views}_{kind}",
        title=f"Inserted discs: detection, bias and coverage, {options.views} views, 40 dB"
        + f" (a quick look at one slice averaged to {QUICK_SIDE}²)" * options.quick,
        command=command_line("python", "benchmarks/ct_lesions.py", *given),
        columns=COLUMNS,
        rows=[],
        notes=[NOTES],
    )
    folder = options.output or (Path(tempfile.mkdtemp()) if options.quick else RESULTS)
    path = folder / f"{report.name}.md"
    for entry in ENTRIES:
        if chosen is not None and entry.name not in chosen:
            continue
        wanted = options.slices.split(",") if options.slices else range(entry.slices)
        studied = study(
            entry,
            data,
            lesions,
            slices=[int(one) for one in wanted if int(one) < len(images)],
            limit=options.limit,
            until=begin + options.budget,
            seed=options.seed,
        )
        for row in rows(studied, ranges):
            report.rows.append(row)
            print(" | ".join(row), flush=True)
        path = report.write(folder)
    print(path)
    return path


if __name__ == "__main__":
    main()
