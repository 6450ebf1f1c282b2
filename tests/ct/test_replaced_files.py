"""What commands replace without asking: files that they wrote themselves, and no others."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file

from ct.cli import run
from tests.ct.workflow_runs import listing

SIMULATE = "simulate {0}/image.npy --views 12 -o {0}/"
RECONSTRUCT = "reconstruct {0}/sino.h5 --method fbp --device cpu -o {0}/b.h5 "
CONVERT = "convert {0}/rec.h5 --slice 0 {0}/"
WRITES = {
    "out.h5": SIMULATE,
    "truth.npy": SIMULATE + "b.h5 --truth {0}/",
    "picture.png": RECONSTRUCT + "--figure {0}/",
    "picture.pdf": RECONSTRUCT + "--figure {0}/",
    "picture.svg": RECONSTRUCT + "--figure {0}/",
    "picture.jpg": RECONSTRUCT + "--figure {0}/",
    "volume.h5": CONVERT,
    "volume.nii": CONVERT,
    "volume.nii.gz": CONVERT,
    "volume.tif": CONVERT,
    "volume.npy": CONVERT,
    "volume.png": CONVERT,
    "volume.dcm": CONVERT,
}
"""By the name of the file that a command writes, the command; the name comes at its end."""


def _command(folder: Path, name: str) -> list[str]:
    return (WRITES[name].format(folder) + name).split()


def _foreign(path: Path) -> None:
    """Write a file of the same format that another program could have written."""
    values = np.arange(256.0).reshape(16, 16)
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["mean"] = values
    elif path.suffix == ".npy":
        np.save(path, values)
    elif ".nii" in path.name:
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values.astype("float32"))
    elif path.suffix in {".png", ".jpg", ".pdf"}:
        Image.fromarray(values.astype(np.uint8)).save(path)
    elif path.suffix == ".dcm":
        pydicom.dcmread(get_testdata_file("CT_small.dcm")).save_as(path)
    else:
        path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')


@pytest.mark.parametrize("name", WRITES)
def test_a_file_of_another_kind_is_never_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    _foreign(folder / name)
    before = listing(folder)
    assert run(_command(folder, name)) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{name}: exists and is no " in said
    assert said.endswith("; name another output, or delete it.")
    assert listing(folder) == before


@pytest.mark.parametrize("name", WRITES)
def test_a_file_of_the_same_kind_is_replaced(folder: Path, name: str) -> None:
    (folder / name).touch()  # nothing to lose
    assert run(_command(folder, name)) == 0
    first = (folder / name).stat()
    assert first.st_size > 0
    assert run(_command(folder, name)) == 0
    assert (folder / name).stat().st_ino != first.st_ino


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("sino.h5", CONVERT),
        ("rec.h5", SIMULATE),
        ("later.h5", SIMULATE),
        ("image.npy", CONVERT),
        ("other.npy", CONVERT),
    ],
)
def test_kinds_are_told_apart_by_content(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, command: str
) -> None:
    with h5py.File(folder / "later.h5", "w") as file:
        file.attrs["format"] = "bayesnn-ct sinograms of another kind"
    np.save(folder / "other.npy", np.zeros((16, 17), dtype=np.float32))
    before = listing(folder)
    assert run((command.format(folder) + name).split()) == 2
    assert f"{name}: exists and is no" in capsys.readouterr().err
    assert listing(folder) == before


def test_pictures_of_slices_spare_other_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = folder / "pictures"
    pictures.mkdir()
    _foreign(pictures / "slice-0001.png")
    before = listing(pictures)
    command = (RECONSTRUCT + "--figures {0}/pictures").format(folder).split()
    assert run(command) == 2
    assert "slice-0001.png: exists and is no picture" in capsys.readouterr().err
    assert listing(pictures) == before
    assert not (folder / "b.h5").exists()
    (pictures / "slice-0001.png").unlink()
    assert [run(command), run(command)] == [0, 0]


@pytest.mark.parametrize("name", ["sinogram.h5", "reconstruction.h5", "figure.png"])
def test_the_demonstration_spares_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    _foreign(tmp_path / name)
    before = listing(tmp_path)
    assert run(["demo", "--out", str(tmp_path), "--device", "cpu"]) == 2
    assert f"{name}: exists and is no file of an earlier demo" in capsys.readouterr().err
    assert listing(tmp_path) == before
