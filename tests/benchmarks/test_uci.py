import importlib.util
import json

import pytest

from benchmarks import uci
from benchmarks.record_file import read_records
from benchmarks.regression.listed import EXACT, NAMES, SAMPLED

PEERS = {
    "boosted trees": "catboost",
    "ARD GP": "gpytorch",
    "ARD GP, our noises": "gpytorch",
    "laplace-torch": "laplace",
}
AGAIN = (EXACT.name, "NTKGP-param", "MC dropout", "mean field")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uci")
    uci.main(["--quick", "--out", str(folder), "--workers", "1"])
    return folder


def test_quick_runs_all_methods_that_are_installed(quick):
    records = read_records(quick / "uci_quick_cells.json")
    failed = {record["method"]: record["error"] for record in records if "error" in record}
    assert all("ImportError" in why or "ModuleNotFound" in why for why in failed.values()), failed
    assert set(failed) <= set(PEERS)
    assert {record["method"] for record in records} == set(NAMES)
    assert {record["split"] for record in records} == {0, 1}
    report = json.loads((quick / "uci_quick.json").read_text())
    assert len(report["rows"]) == len(NAMES) - len(failed) + 1
    assert report["lead"]
    text = (quick / "uci_quick.md").read_text()
    assert text.index(report["lead"]) < text.index("Command:")
    assert (quick / "uci_quick.png").is_file()


def test_quick_twice_gives_the_same_numbers(quick, tmp_path):
    uci.main(["--quick", "--out", str(tmp_path), "--workers", "1", "--methods", *AGAIN])

    def numbers(folder):
        records = read_records(folder / "uci_quick_cells.json")
        return {
            (one["method"], one["split"]): {k: v for k, v in one.items() if k != "seconds"}
            for one in records
            if one["method"] in AGAIN
        }

    assert numbers(tmp_path) == numbers(quick)
    assert len(numbers(tmp_path)) == 2 * len(AGAIN)


def test_cells_are_kept_and_not_run_again(quick, monkeypatch):
    def only_what_failed(cell, **_kept):
        assert importlib.util.find_spec(PEERS[cell.method]) is None
        raise ImportError(cell.method)

    monkeypatch.setattr(uci, "run_cell", only_what_failed)
    uci.main(["--quick", "--out", str(quick), "--workers", "1"])


def test_cells_come_split_by_split_and_chains_on_small_sets_alone():
    (chain,) = SAMPLED
    cells = uci.cells_of(("concrete", "yacht"), ("MC dropout", chain, EXACT.name), 2)
    assert cells == [
        ("concrete", 0, EXACT.name), ("concrete", 0, "MC dropout"),
        ("yacht", 0, EXACT.name), ("yacht", 0, chain), ("yacht", 0, "MC dropout"),
        ("concrete", 1, EXACT.name), ("concrete", 1, "MC dropout"),
        ("yacht", 1, EXACT.name), ("yacht", 1, chain), ("yacht", 1, "MC dropout"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--splits", "21", "--quick"], "expected 2 to 20, got 21"),
        (["--splits", "1", "--quick"], "expected 2 to 20, got 1"),
        (["--workers", "0", "--quick"], "--workers: expected a number of processes"),
        (["--sets", "boston"], "boston"),
        (["--methods", "magic"], "magic"),
        (["--data-dir", "/nowhere"], "expected concrete.txt in /nowhere"),
    ],
)
def test_wrong_options_are_refused_before_work(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        uci.parsed(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
