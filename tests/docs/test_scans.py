"""The pages of real scans state what their scripts find."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SCANS = Path(__file__).parents[2] / "docs" / "scans"


def shown(name: str, data_dir: Path, folder: Path) -> Any:
    main = runpy.run_path(str(SCANS / f"{name}.py"))["main"]
    found = main(["--data-dir", str(data_dir), "--output", str(folder), "--image-size", "128"])
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    return found


@pytest.mark.data
def test_neutron(data_dir: Path, tmp_path: Path) -> None:
    found = shown("neutron", data_dir, tmp_path)
    assert abs(found.center - 245.0) < 0.5
    assert found.missing == 214
    assert found.stripes_after < 0.5 * found.stripes_before
    assert found.findings == ("beam hardening",)


@pytest.mark.data
def test_tooth(data_dir: Path, tmp_path: Path) -> None:
    found = shown("tooth", data_dir, tmp_path)
    assert abs(found.center - 295.87) < 0.1
    assert abs(found.centers[0] - found.centers[1]) < 0.1
    assert abs(found.darkest - found.center) <= 0.5
    assert found.stripes_after < 0.1 * found.stripes_before
    assert set(found.findings) == {"rings", "beam hardening"}


@pytest.mark.data
def test_uncertainty(data_dir: Path, tmp_path: Path) -> None:
    main = runpy.run_path(str(SCANS / "uncertainty.py"))["main"]
    settings = '{"steps": 30, "centre_steps": 30, "n_samples": 6}'
    line = ["--data-dir", str(data_dir), "--output", str(tmp_path), "--image-size", "48"]
    line += ["--method", "mc-dropout", "--settings", settings]
    main([*line, "--scans", "tooth,neutron"])
    found = main([*line, "--scans", "helsinki"])
    page = (tmp_path / "uncertainty.md").read_text()
    for name, one in found.items():
        picture = tmp_path / f"{name}_uncertainty.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"../images/{picture.name}" in page
        # even of pixels this coarse, views that were kept apart are predicted as well as is said
        assert 0.85 < one["check"]["coverage"]["0.95"] <= 1
        assert abs(one["check"]["conformal"]["0.95"] - 0.95) < 0.03
        assert f"{100 * one['check']['coverage']['0.95']:.1f} |" in page
    assert set(found) == {"tooth", "neutron", "helsinki"}
