"""The report shows, as table, JSON and figure, what the comparison found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bayesnn.predictive import Predictive
from bayesnn.seeds import seeded_generator
from ensembles import compare_members
from ensembles.validation import Validation

N, MEMBERS = 7, 40


def _report(dimension: int = 1, *, prior: bool = True) -> Validation:
    x = torch.linspace(3, -3, N * dimension, dtype=torch.float64).view(N, dimension)
    post = Predictive(
        mean=torch.arange(N, dtype=torch.float64), epistemic_variance=torch.full((N,), 4.0),
        noise_variance=0.0, covariance=4 * torch.eye(N, dtype=torch.float64),
    )  # fmt: skip
    draws = torch.randn(MEMBERS, N, dtype=torch.float64, generator=seeded_generator(0))
    variance = torch.tensor([5.0] * 4 + [1e3] * 3)
    return compare_members(
        post.mean + 2 * draws, post, x, prior_variance=variance if prior else None
    )


def test_the_table_has_a_line_for_each_part() -> None:
    report = _report()
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["all", "near", "far"]
    for line, part in zip(lines[2:5], (report.all_points, report.near, report.far), strict=True):
        assert part is not None
        for number in (part.mean_error, part.mean_error_floor, part.std_ratio):
            assert f"{number:.3f}" in line
    assert f"p = {report.p_value:.4f}" in lines[-1]
    assert "near" not in str(_report(prior=False))


def test_json_holds_everything(tmp_path: Path) -> None:
    report = _report()
    path = tmp_path / "report.json"
    report.save(path)
    found = json.loads(path.read_text())
    assert found == json.loads(report.to_json())
    assert found["all_points"]["mean_error"] == report.all_points.mean_error
    assert found["test"]["p_value"] == report.p_value
    assert found["curves"]["near"] == [False] * 4 + [True] * 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
    with pytest.raises(ValueError, match="does not exist"):
        report.save(tmp_path / "no" / "report.json")


def test_the_figure_shows_both_and_their_differences(tmp_path: Path) -> None:
    report = _report()
    top, ratio, error = report.figure().axes
    reference, ensemble = (line.get_xydata() for line in top.lines)
    x = np.array(report.curves.x)
    order = np.argsort(x)
    for found, mean in ((reference, report.curves.reference_mean), (ensemble, report.curves.mean)):
        np.testing.assert_allclose(found, np.stack([x, np.array(mean)])[:, order].T)
    for axes, expected in (
        (ratio, np.array(report.curves.std) / 2),
        (error, (np.array(report.curves.mean) - np.arange(N)) / 2),
    ):
        near, far = (bars[0].get_xydata() for bars in axes.containers)
        assert len(near) == 3
        assert len(far) == 4
        shown = np.concatenate([far, near])
        np.testing.assert_allclose(shown, np.stack([x, expected], axis=1))
    # one standard error: of a standard deviation, s/√(2(m − 1)); of a mean, s/√m
    for axes, whole in ((ratio, np.sqrt(2 * (MEMBERS - 1))), (error, np.sqrt(MEMBERS))):
        (segments,) = axes.containers[1][2]
        half = [np.ptp(segment[:, 1]) / 2 for segment in segments.get_segments()]
        np.testing.assert_allclose(half, np.array(report.curves.std)[:4] / 2 / whole)
    from matplotlib.image import imread

    path = tmp_path / "figure.png"
    report.save_figure(path)
    assert imread(path).std() > 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("prior", [False, True])
def test_inputs_of_several_numbers_stand_over_the_reference(prior: bool) -> None:
    report = _report(2, prior=prior)
    assert report.curves.x is None
    axes = report.figure().axes
    assert axes[-1].get_xlabel() == "reference standard deviation"
    assert len(axes[1].containers) == (2 if prior else 1)


def test_matplotlib_loads_with_the_figure_alone() -> None:
    code = "import sys, ensembles; ensembles.validate; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
