"""Bad input of the command line: one line, exit code 2, and nothing is left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from ct.cli import run
from tests.ct.workflow_runs import listing

BAD_COMMANDS = {
    "unknown command": ("frobnicate", "frobnicate"),
    "unknown option": ("info {0}/sino.h5 --colour", "--colour"),
    "missing argument": ("reconstruct", "SINO.h5"),
    "not a number": ("simulate {0}/image.npy -o {0}/b.h5 --views many", "--views"),
    "another geometry": ("simulate {0}/image.npy -o {0}/b.h5 --geometry cone", "--geometry"),
    "no views": ("simulate {0}/image.npy -o {0}/b.h5 --views 0", ": --views: expected"),
    "no dB": ("simulate {0}/image.npy -o {0}/b.h5 --snr-db=nan", ": --snr-db: expected"),
    "no arc": ("simulate {0}/image.npy -o {0}/b.h5 --arc 0", ": --arc: expected"),
    "no level": ("region {0}/rec.h5 --mask {0}/image.npy --level 2", ": --level: expected"),
    "no level to convert": (
        "convert {0}/rec.h5 {0}/b.npy --what lower --level 2",
        ": --level: expected",
    ),
    "missing": ("reconstruct {0}/none.h5 -o {0}/b.h5", "no such file"),
    "empty": ("reconstruct {0}/empty.h5 -o {0}/b.h5", "empty"),
    "truncated": ("reconstruct {0}/short.h5 -o {0}/b.h5", "truncated"),
    "foreign": ("reconstruct {0}/tiny.json -o {0}/b.h5", "another kind of file"),
    "result as sinogram": ("reconstruct {0}/rec.h5 -o {0}/b.h5", "'sinogram'"),
    "sinogram as result": ("evaluate {0}/sino.h5 --truth {0}/image.npy", "result file"),
    "nan": ("reconstruct {0}/nan.npy -o {0}/b.h5 --angles 0:3:3", "NaN"),
    "angle count": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --angles 0:3:5", "12 views"),
    "no angles": ("reconstruct {0}/image.npy -o {0}/b.h5", "--angles"),
    "counts without i0": ("reconstruct {0}/counts.npy -o {0}/b.h5 --angles 0:3:3", "--i0"),
    "no folder": ("reconstruct {0}/sino.h5 -o {0}/none/b.h5", "does not exist"),
    "output is a folder": ("reconstruct {0}/sino.h5 -o {0}", "found a folder"),
    "output of no kind": ("reconstruct {0}/sino.h5 -o {0}/b.txt", "ends in .h5 or .hdf5"),
    "output that is no result": ("reconstruct {0}/sino.h5 -o {0}/keep.h5", "no whole reconstr"),
    "output that is a sinogram": ("reconstruct {0}/sino.h5 -o {0}/hu.h5", "name another output"),
    "scan of no kind": ("simulate {0}/image.npy -o {0}/b.txt", "ends in .h5 or .hdf5"),
    "truth of no kind": (
        "simulate {0}/image.npy -o {0}/b.h5 --truth {0}/t.txt",
        "t.txt: expected a name that ends in .npy",
    ),
    "output is the input": ("reconstruct {0}/sino.h5 -o {0}/sino.h5", "is the input"),
    "unknown method": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --method magic", "magic"),
    "hu without water": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --hu", "--mu-water"),
    "water without hu": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --mu-water 0.02", "--hu"),
    "no water": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --hu --mu-water 0", "--mu-water"),
    "already hu": ("reconstruct {0}/hu.h5 -o {0}/b.h5 --hu --mu-water 0.02", "gives HU"),
    "picture without a format": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --method fbp --figure {0}/b.picture",
        ".png",
    ),
    "picture in no folder": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --method fbp --figure {0}/none/b.png",
        "does not exist",
    ),
    "unknown device": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --device tpu", "--device"),
    "negative seed": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --seed -1", "--seed"),
    "no such slice": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --slices 1:9", "--slices"),
    "drowned": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --noise-std 1e6", "sinogram's units"),
    "no memory": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --memory-budget lots", "2GB"),
    "no samples": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --method fbp --samples", "no samples"),
    "pictures in a file": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --figures {0}/rec.h5", "--figures"),
    "no noise": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --noise-std 0", "--noise-std"),
    "config key": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/key.json", "'stepps'"),
    "config far key": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/key.json", "'settings')."),
    "config near key": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/near.json",
        "near.json: unknown 'nois-std'; did you mean 'noise-std'?",
    ),
    "config near word": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/word.json",
        "unknown 'nois_std'; did you mean 'noise_std'?",
    ),
    "config missing": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/none.json",
        "none.json: no such file; check the path",
    ),
    "config type": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/type.json",
        "type.json: seed: expected",
    ),
    "config value": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/value.json",
        ": {0}/value.json: noise-std: expected a finite",
    ),
    "config value, command line first": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/value.json --noise-std=-1",
        ": --noise-std: expected a finite",
    ),
    "config method": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/method.json",
        ": {0}/method.json: method: expected",
    ),
    "config method, command line first": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/method.json --method magic",
        ": --method: expected",
    ),
    "config setting": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/set.json",
        ": {0}/set.json: settings: jackknife: no setting is called 'stepps'",
    ),
    "config mean": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/mean.toml",
        ": {0}/mean.toml: settings: jackknife: mean: expected",
    ),
    "config syntax": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/syntax.toml", "TOML"),
    "truth of another shape": ("evaluate {0}/rec.h5 --truth {0}/nan2.npy", "shape"),
    "truth with nan": ("evaluate {0}/rec.h5 --truth {0}/nan.npy", "NaN"),
    "demo into a file": ("demo --out {0}/sino.h5", "--out"),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_bad_input_is_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    nan = np.ones((3, 8))
    nan[1, 2] = np.nan
    np.save(folder / "nan.npy", nan)
    np.save(folder / "nan2.npy", np.arange(64.0).reshape(8, 8))
    np.save(folder / "counts.npy", np.full((3, 8), 4000))
    shutil.copy(folder / "sino.h5", folder / "hu.h5")
    with h5py.File(folder / "hu.h5", "r+") as file:
        file.attrs["image_units"] = "HU"
    (folder / "empty.h5").touch()
    (folder / "keep.h5").write_text("notes of a year")
    (folder / "short.h5").write_bytes((folder / "sino.h5").read_bytes()[:3000])
    (folder / "key.json").write_text('{"stepps": 3}')
    (folder / "set.json").write_text('{"settings": {"stepps": 3}}')
    (folder / "type.json").write_text('{"seed": "zero"}')
    (folder / "near.json").write_text('{"nois-std": 3}')
    (folder / "word.json").write_text('{"nois_std": 3}')
    (folder / "value.json").write_text('{"noise-std": 0, "settings": {"n_folds": 3}}')
    (folder / "method.json").write_text('{"method": "sorcery", "settings": {"n_folds": 3}}')
    (folder / "mean.toml").write_text('[settings.mean]\nname = "xyz"\n')
    (folder / "syntax.toml").write_text("method = ")
    before = listing(folder)
    command, named = BAD_COMMANDS[case]
    assert run(command.format(folder).split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("error: ")
    assert named.replace("{0}", str(folder)) in printed.err
    assert listing(folder) == before
    assert not any(path.is_dir() for path in folder.iterdir())
