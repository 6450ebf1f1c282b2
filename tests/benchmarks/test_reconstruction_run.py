"""The benchmark of all variants: its scans, its runs, what it says of failures, its tables."""

from __future__ import annotations

import doctest
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import ct
from benchmarks import ct_reconstruction
from benchmarks.reconstruction import methods, records, tables
from benchmarks.reconstruction.images import averaged
from benchmarks.reconstruction.methods import Entry, public
from benchmarks.reconstruction.records import Record
from benchmarks.reconstruction.run import run_entry
from benchmarks.reconstruction.scans import (
    WATER,
    attenuating,
    photons,
    simulated,
    simulated_finer,
    simulated_phantoms,
    white,
)
from ct.problem import Estimate, Problem, Progress, Setting
from ct.score_regions import body_mask

IMAGES = np.zeros((2, 24, 24), dtype=np.float32)
IMAGES[:, 6:18, 5:16] = 1.0
IMAGES[1, 10:14, 8:12] = 0.4


class Slow:
    """A method that takes its time, or fails."""

    name, n_samples = "slow", None

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def settings(self) -> dict[str, Setting]:
        return {}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        if self.error is not None:
            raise self.error
        time.sleep(5)
        return Estimate(mean=torch.zeros(problem.grid.shape))


def data() -> object:
    return simulated(IMAGES, views=8, snr_db=40, device="cpu")


def run(entry: Entry, *, limit: float = 60, until: float = math.inf) -> list[Record]:
    found: Iterator[Record] = run_entry(entry, data(), slices=[0, 1], limit=limit, until=until)
    return list(found)


def test_each_slice_is_timed_and_scored() -> None:
    for index, record in enumerate(run(Entry(name="fbp", make=public("fbp")))):
        assert record["slice"] == index
        assert record["seconds"] > 0
        assert record["regions"]["body"]["psnr"] > 5
        json.dumps(record)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (Entry(name="x", make=public("no_such_method")), "ct.no_such_method is not there"),
        (Entry(name="x", make=public("tv", {"weight": -1})), "ValueError: weight"),
        (Entry(name="x", make=lambda _: Slow(RuntimeError("CUDA out of memory"))), "out of memory"),
    ],
)
def test_failures_are_said_and_nothing_more_is_run(entry: Entry, said: str) -> None:
    (record,) = run(entry)
    assert record["slice"] == 0
    assert said in record["error"]


def test_a_slice_is_stopped_at_its_limit() -> None:
    begin = time.monotonic()
    (record,) = run(Entry(name="x", make=lambda _: Slow()), limit=0.2)
    assert "stopped after 0.2 s" in record["error"]
    assert time.monotonic() - begin < 4


def test_nothing_is_begun_when_the_time_is_over() -> None:
    (record,) = run(Entry(name="fbp", make=public("fbp")), until=time.monotonic() - 1)
    assert "not run" in record["error"]


def test_finer_pixels_and_the_projector_agree_on_the_same_image() -> None:
    own = simulated(IMAGES, views=8, snr_db=math.inf, device="cpu")
    finer = simulated_finer(IMAGES, views=8, measure_rays=white(math.inf), device="cpu")
    one, other = own.problems[0].sinogram, finer.problems[0].sinogram
    assert torch.equal(own.truth, finer.truth)
    difference = float((one - other).square().mean() / one.square().mean())
    assert 1e-5 < difference < 0.02  # it is not the same discretisation


def test_details_finer_than_a_pixel_keep_their_mass() -> None:
    whole = simulated_finer(IMAGES, views=8, measure_rays=white(math.inf), device="cpu")
    half = simulated_finer(IMAGES, views=8, measure_rays=white(math.inf), device="cpu", side=12)
    assert half.grid == ct.ImageGrid((12, 12), 2.0)
    assert np.allclose(half.truth.numpy(), averaged(IMAGES, 12))
    mass = [
        float(one.problems[0].sinogram[0].sum()) * one.scan.detector_spacing
        for one in (whole, half)
    ]
    assert mass[0] == pytest.approx(IMAGES[0].sum(), rel=0.02)
    assert mass[1] == pytest.approx(mass[0], rel=0.03)


def test_noise_of_photons_is_as_large_as_it_is_said_to_be() -> None:
    images = attenuating(np.repeat(IMAGES, 4, 0))
    inside = images[0][body_mask(torch.from_numpy(IMAGES[0])).numpy()]
    assert float(np.median(inside)) == pytest.approx(WATER)
    noisy, clean = (
        simulated_finer(images, views=16, measure_rays=measure, device="cpu", pixel_size=10.0)
        for measure in (photons(1e4), white(math.inf))
    )
    scores = [
        (one.sinogram - other.sinogram) / one.noise_std
        for one, other in zip(noisy.problems, clean.problems, strict=True)
    ]
    assert float(torch.stack(scores).square().mean()) == pytest.approx(1, abs=0.05)


def test_phantoms_differ_and_their_sinograms_hold_their_mass() -> None:
    made = simulated_phantoms(side=32, slices=2, views=5, snr_db=math.inf, device="cpu")
    assert not torch.equal(made.truth[0], made.truth[1])
    for truth, problem in zip(made.truth, made.problems, strict=True):
        for view in problem.sinogram:
            assert float(view.sum()) == pytest.approx(float(truth.sum()), rel=0.02)


def test_every_variant_is_cheap_or_costly() -> None:
    cheap, costly = methods.chosen("cheap"), methods.chosen("costly")
    assert {one.name for one in cheap}.isdisjoint(one.name for one in costly)
    assert len(cheap) + len(costly) == len(methods.ENTRIES) == len(methods.chosen(None))


def good(method: str, index: int, psnr: float) -> Record:
    scores = {"psnr": psnr, "ssim": 0.5, "share": 1.0}
    return {
        "set": "A", "views": 60, "method": method, "slice": index, "seconds": 1.0, "memory": 0,
        "n_samples": None, "regions": {"all": scores},
    }  # fmt: skip


def test_gains_are_over_the_same_slices() -> None:
    peer = [good(tables.PEER, index, 30.0 + index) for index in range(3)]
    rows = tables.summary_rows([*peer, good("new", 1, 32.5)])
    assert rows[1][2:6] == ("new", "1", "32.50", "+1.50")
    assert rows[0][4] == "31.00 ± 0.58"


def test_a_failure_stands_beside_what_went_well() -> None:
    failed = {"set": "A", "views": 60, "method": "new", "slice": 1, "error": "why"}
    rows = tables.summary_rows([good("new", 0, 30.0), failed])
    assert [row[3:5] for row in rows] == [("1", "30.00"), ("0", "slice 1: why")]
    assert {len(row) for row in rows} == {len(tables.SUMMARY)}


def test_examples_of_the_benchmark_are_right() -> None:
    for module in (methods, records, tables):
        found = doctest.testmod(module)
        assert found.attempted > 0
        assert found.failed == 0


def test_reports_grow_by_merging(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--part", "phantoms", "--side", "24", "--views", "5", "--output", str(tmp_path)]
    ct_reconstruction.main([*line, "--methods", "fbp", "--slices", "0"])
    (report,) = ct_reconstruction.main([*line, "--methods", "cgls", "--slices", "1", "--merge"])
    text = report.read_text()
    assert "| Shepp–Logan | 5 | fbp | 1 |" in text
    assert "| Shepp–Logan | 5 | cgls | 1 |" in text
    assert str(tmp_path) not in text
    assert "cgls, 1: " in capsys.readouterr().out
    beside = ["--part", "phantoms", "--output", str(tmp_path / "all"), "--join", str(tmp_path)]
    (joined,) = ct_reconstruction.main(beside)
    assert [one for one in joined.read_text().splitlines() if "Shepp" in one] == [
        one for one in text.splitlines() if "Shepp" in one
    ]
    assert str(tmp_path) not in joined.read_text()
    with pytest.raises(SystemExit):
        ct_reconstruction.main([*line, "--methods", "fbq"])
    assert "got fbq" in capsys.readouterr().err
