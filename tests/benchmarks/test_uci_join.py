import json

import pytest

from benchmarks import uci
from benchmarks.record_file import read_records, write_records
from benchmarks.regression.listed import NAMES, PEERS, SAME_PRIOR, SAMPLED
from benchmarks.regression.uci_join import joined, whole_splits
from benchmarks.regression.uci_lead import RIVALS

(CHAIN,) = SAMPLED


def _cell(method, split, data="yacht", **more):
    return {"data": data, "split": split, "method": method} | more


def _file(tmp_path, name, *records):
    write_records(tmp_path / name, records)
    return tmp_path / name


def test_a_methods_cells_come_from_the_first_file_that_has_any(tmp_path):
    new = _file(tmp_path, "new.json", _cell("A", 1, nll=1.0), _cell("A", 0, nll=2.0))
    old = _file(tmp_path, "old.json",
                *(_cell(m, i, nll=9.0) for m in ("A", "B") for i in range(3)))  # fmt: skip
    found = joined([new, old])
    assert sorted((r["method"], r["split"], r["nll"]) for r in found) == [
        ("A", 0, 2.0), ("A", 1, 1.0), ("B", 0, 9.0), ("B", 1, 9.0), ("B", 2, 9.0),
    ]  # fmt: skip
    assert [r["split"] for r in found] == [0, 0, 1, 1, 2]
    assert all(r["nll"] == 9.0 for r in joined([old, new]))


def test_a_file_without_cells_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--join: expected a file of cells.*nothing\.json"):
        joined([tmp_path / "nothing.json"])


def test_splits_are_whole_where_all_methods_were_run_even_if_one_failed():
    records = [
        _cell("A", 0), _cell("B", 0, error="no"), _cell("C", 0),
        _cell("A", 1), _cell("C", 1),
        _cell("A", 0, data="energy"), _cell("B", 1, data="energy"),
    ]  # fmt: skip
    assert whole_splits(records, {"A", "B"}) == records[:3]
    assert whole_splits(records, {"A"}) == [*records[:5], records[5]]


def test_joined_files_are_reported_without_a_run(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    methods = ["exact NTKGP", "NTKGP-param", "NTKGP-fn", "NTKGP-lin", "MC dropout"]
    uci.main(["--quick", "--out", str(ran), "--workers", "1", "--methods", *methods])
    records = read_records(ran / "uci_quick_cells.json")
    family = [r for r in records if r["method"] != "MC dropout"]
    peers = [r for r in records if r["method"] == "MC dropout"]
    stale = [r | {"nll": 99.0, "split": i} for r in family for i in (r["split"], 7)]
    late = [r | {"split": 2} for r in peers[:1]]  # a split that the family has not
    files = [_file(tmp_path, "f.json", *family), _file(tmp_path, "p.json", *peers, *stale, *late)]
    monkeypatch.setattr(uci, "run_cells", None)
    again = tmp_path / "again"
    options = [word for file in files for word in ("--join", str(file))]
    uci.main(["--quick", "--out", str(again), *options, "--methods", *methods])
    first, second = (json.loads((folder / "uci_quick.json").read_text()) for folder in (ran, again))
    assert second["rows"] == first["rows"]
    assert second["lead"] == first["lead"]
    assert str(tmp_path) not in second["command"]
    assert len(read_records(again / "uci_quick_cells.json")) == len(records) + 1
    assert (again / "uci_quick.png").is_file()


def test_methods_beside_the_family_and_its_rivals_may_have_fewer_splits(tmp_path):
    beside = {CHAIN, *SAME_PRIOR, *PEERS} - {*RIVALS}
    some = [_cell(m, i) for m in NAMES if m not in beside for i in range(3)]
    some += [_cell(m, 0) for m in sorted(beside)]
    options = uci.parsed(["--join", str(_file(tmp_path, "a.json", *some))])
    _, whole = uci.joined_cells(options)
    assert len(whole) == len(some)
    options.join = [_file(tmp_path, "b.json", *some[1:])]
    assert {record["split"] for record in uci.joined_cells(options)[1]} == {1, 2}


def test_fewer_than_two_whole_splits_are_refused(tmp_path):
    some = [_cell(m, i) for m in ("A", "NTKGP-fn") for i in range(3)] + [_cell("NTKGP-lin", 0)]
    out = ["--out", str(tmp_path), "--methods", "NTKGP-fn", "NTKGP-lin"]
    with pytest.raises(SystemExit) as stopped:
        uci.main(["--join", str(_file(tmp_path, "a.json", *some)), *out])
    assert "expected two splits or more" in str(stopped.value)
    with pytest.raises(SystemExit) as stopped:
        uci.main(["--join", str(tmp_path / "none.json"), *out])
    assert "found none in" in str(stopped.value)
    assert not (tmp_path / "uci.md").exists()
