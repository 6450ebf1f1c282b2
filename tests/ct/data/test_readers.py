"""Every format of scans gives the same slices, with its flats and darks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from ct.data import hdf5_file
from ct.data import stack as stack_module
from ct.data.scan_input import open_scan
from ct.data.scan_options import ScanOptions
from ct.data.sinogram_file import open_sinogram
from tests.ct.data.scan_files import (
    ANGLES,
    BINS,
    DARKS,
    FLATS,
    SLICES,
    VALUES,
    VIEWS,
)


def assert_slices(path: Path, **options: Any) -> None:
    opened = open_sinogram(path, **options)
    assert opened.shape == (SLICES, VIEWS, BINS)
    for index in (2, 0, 3, 1):
        np.testing.assert_array_equal(opened.read(index), VALUES[index])


def data_exchange(path: Path, *, axes: str = "theta:y:x", **theta: object) -> Path:
    order = axes.split(":")
    arrays = {
        "data": VALUES.swapaxes(0, 1) if order[0] == "theta" else VALUES,
        "data_white": FLATS,
        "data_dark": DARKS,
    }
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[f"exchange/{name}"] = values
        file["exchange/data"].attrs["axes"] = np.bytes_(axes)
        if axes != "theta:y:x":
            for name in ("data_white", "data_dark"):
                file[f"exchange/{name}"].attrs["axes"] = "theta:y:x"
        file["exchange/theta"] = theta.get("values", ANGLES)
        file["exchange/theta"].attrs["units"] = theta.get("units", "degrees")
    return path


@pytest.mark.parametrize("axes", ["theta:y:x", "y:theta:x"])
def test_data_exchange_in_both_orders(tmp_path: Path, axes: str) -> None:
    path = data_exchange(tmp_path / "scan", axes=axes)
    assert_slices(path)
    opened = open_scan(path)
    np.testing.assert_allclose(opened.geometry()[1].angles, np.deg2rad(ANGLES))
    assert (opened.values, opened.values_from, opened.image_units) == ("counts", "the file", "1/mm")
    for index in range(SLICES):
        dark, flat = DARKS[:, index].mean(axis=0), FLATS[:, index].mean(axis=0)
        expected = -np.log((VALUES[index] - dark) / (flat - dark))
        np.testing.assert_allclose(opened.read(index).values, expected, rtol=2e-3, atol=2e-3)


def test_data_exchange_without_axes_goes_by_the_length_of_theta(tmp_path: Path) -> None:
    path = data_exchange(tmp_path / "scan", axes="y:theta:x")
    with h5py.File(path, "a") as file:
        del file["exchange/data"].attrs["axes"]
    assert_slices(path)


def test_data_exchange_theta_in_radians_or_without_units(tmp_path: Path) -> None:
    half_turn = np.arange(VIEWS) * np.pi / VIEWS
    path = data_exchange(tmp_path / "scan", values=half_turn, units="radians")
    np.testing.assert_allclose(open_sinogram(path).angles, half_turn)
    path = data_exchange(tmp_path / "scan", units="")
    np.testing.assert_allclose(open_sinogram(path).angles, np.deg2rad(ANGLES))


def test_slices_across_projections_are_read_in_bands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of projections is read once for all slices of a band, and never whole."""
    path = data_exchange(tmp_path / "scan")
    monkeypatch.setattr(stack_module, "_BAND_BYTES", 2 * VIEWS * BINS * 2)
    opened = open_sinogram(path)
    reads: list[Any] = []
    original = hdf5_file.ask

    def counting(path: Path, **request: Any) -> Any:
        reads.append((request["axis"], request["first"], request["last"]))
        return original(path, **request)

    monkeypatch.setattr(hdf5_file, "ask", counting)
    for index in range(SLICES):
        np.testing.assert_array_equal(opened.read(index), VALUES[index])
    assert reads == [(1, 0, 2), (1, 2, 4)]


@pytest.mark.parametrize("name", ["sinogram", "entry/scan/raw"])
def test_plain_hdf5_with_any_dataset(tmp_path: Path, name: str) -> None:
    path = tmp_path / "scan.dat"
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=VALUES, chunks=(1, 4, 5), compression="gzip")
        file["angles"] = ANGLES
        file["angles"].attrs["units"] = "degrees"
    options = {} if name == "sinogram" else {"dataset": name}
    assert_slices(path, **options)
    np.testing.assert_allclose(open_sinogram(path, **options).angles, np.deg2rad(ANGLES))


@pytest.mark.parametrize("form", ["npy", "pages", "folder", "hdf5"])
@pytest.mark.parametrize("projections", [False, True])
def test_stacks_of_sinograms_and_of_projections(
    tmp_path: Path, form: str, projections: bool
) -> None:
    values = VALUES.swapaxes(0, 1) if projections else VALUES
    path = tmp_path / "scan"
    if form == "npy":
        with path.open("wb") as file:
            np.save(file, values)
    elif form == "pages":
        tifffile.imwrite(path, values, photometric="minisblack")
    elif form == "hdf5":
        with h5py.File(path, "w") as file:
            file["sinogram"] = values
    else:
        path.mkdir()
        for number, page in enumerate(values):
            tifffile.imwrite(path / f"view{number}.tif", page)
    assert_slices(path, projections=projections)


def test_a_stack_of_projections_taken_for_sinograms_says_what_to_do(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", VALUES.swapaxes(0, 1))
    options = ScanOptions(angles=f"0:180:{VIEWS}", degrees=True)
    with pytest.raises(ValueError, match="say --projections"):
        open_scan(tmp_path / "s.npy", options)
    np.save(tmp_path / "one.npy", VALUES[0].T)
    with pytest.raises(ValueError, match="transpose it"):
        open_scan(tmp_path / "one.npy", options)


@pytest.mark.parametrize("form", ["npy", "tiff", "hdf5"])
@pytest.mark.parametrize("images", [True, False])
def test_flats_and_darks_from_files(tmp_path: Path, form: str, images: bool) -> None:
    """Images of the whole detector, or readings of one row for all slices."""
    np.save(tmp_path / "s.npy", VALUES)
    names = {}
    for name, values in (("flats", FLATS), ("darks", DARKS)):
        held = values if images else values[:, 1]
        path = tmp_path / name
        if form == "npy":
            with path.open("wb") as file:
                np.save(file, held)
        elif form == "tiff":
            tifffile.imwrite(path, held, photometric="minisblack")
        else:
            with h5py.File(path, "w") as file:
                file["a/b"] = held
        names[name] = Path(f"{path}::a/b") if form == "hdf5" else path
    opened = open_scan(tmp_path / "s.npy", ScanOptions(**names))
    assert (opened.values, opened.values_from) == ("counts", "flats")
    for index in range(SLICES):
        row = index if images else 1
        dark, flat = DARKS[:, row].mean(axis=0), FLATS[:, row].mean(axis=0)
        expected = -np.log((VALUES[index] - dark) / (flat - dark))
        np.testing.assert_allclose(opened.read(index).values, expected, rtol=2e-3, atol=2e-3)


def test_one_flat_of_a_single_row(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", VALUES[0])
    np.save(tmp_path / "flat.npy", np.full(BINS, 5000.0))
    measured = open_scan(tmp_path / "s.npy", ScanOptions(flats=tmp_path / "flat.npy")).read(0)
    np.testing.assert_allclose(measured.values, np.log(5000 / VALUES[0]), rtol=1e-5, atol=1e-6)


def test_flats_from_after_the_scan(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", VALUES[0])
    np.save(tmp_path / "before.npy", np.full(BINS, 5000.0))
    np.save(tmp_path / "after.npy", np.full(BINS, 4000.0))
    after = ScanOptions(flats_after=tmp_path / "after.npy", values="counts")
    with pytest.raises(ValueError, match="give --flats"):
        open_scan(tmp_path / "s.npy", after)
    both = replace(after, flats=tmp_path / "before.npy")
    measured = open_scan(tmp_path / "s.npy", both).read(0)
    i0 = np.linspace(5000, 4000, VIEWS)[:, None]
    np.testing.assert_allclose(measured.values, np.log(i0 / VALUES[0]), rtol=1e-4, atol=1e-5)
