import numpy as np
import pytest

from benchmarks import ct_lesions
from benchmarks.ct_lesions import COLUMNS, inserted, rows, study
from benchmarks.reconstruction.methods import Entry, public
from benchmarks.reconstruction.scans import simulated

RANGES = [2.0, 2.0]


def _images() -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    disc = (np.hypot(y - 32, x - 32) < 28).astype(np.float32)
    return np.stack([2 * disc, 2 * disc])


@pytest.fixture(scope="module")
def scans():
    changed, lesions = inserted(_images(), radii=(2.0,), contrasts=(0.02, 0.05), seed=0)
    return simulated(changed, views=20, snr_db=40.0, device="cpu"), lesions


def _studied(scans, entry: Entry, *, until: float = 1e18):
    data, lesions = scans
    return study(entry, data, lesions, slices=[0, 1], limit=60.0, until=until, seed=0)


def test_a_method_gets_a_row_for_each_group_of_discs(scans):
    table = rows(_studied(scans, Entry(name="fbp", make=public("fbp"))), RANGES)
    assert [row[:2] for row in table] == [
        ("fbp", "all"),
        ("fbp", "2 % of the range"),
        ("fbp", "5 % of the range"),
        ("fbp", "radius 2"),
    ]
    assert all(len(row) == len(COLUMNS) for row in table)
    n_all, n_faint, n_strong = (int(row[2].split(", ")[1]) for row in table[:3])
    assert n_all == n_faint + n_strong
    assert min(n_faint, n_strong) > 0
    assert "–" in table[0]  # no uncertainty


def test_what_fails_or_is_not_reached_is_said(scans):
    absent = _studied(scans, Entry(name="nobody", make=public("no_such_method")))
    assert "no_such_method" in rows(absent, RANGES)[0][1]
    late = _studied(scans, Entry(name="fbp", make=public("fbp")), until=0.0)
    assert "not run" in rows(late, RANGES)[0][1]


def test_names_that_nobody_knows_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        ct_lesions.parsed(["--data-dir", str(tmp_path), "--methods", "fpb"])
    assert "fpb" in capsys.readouterr().err
