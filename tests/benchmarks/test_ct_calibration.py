import json

import pytest

from benchmarks import ct_calibration
from benchmarks.reconstruction.calibration_report import figure, outcome, report
from benchmarks.reconstruction.calibrations import AS_FITTED, BY_VIEWS, variants


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = [tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")]
    arguments = ["--quick", "--methods", "infinite-width,jackknife"]
    for folder in made:
        ct_calibration.main([*arguments, "--out", str(folder)])
    return made


def _cells(folder):
    return json.loads((folder / "ct_calibration_quick_cells.json").read_text())


def test_the_same_command_gives_the_same_numbers(folders):
    one, two = (
        [{key: cell[key] for key in cell if key != "seconds"} for cell in _cells(folder)]
        for folder in folders
    )
    assert one == two
    assert [cell["method"] for cell in one] == [
        "jackknife | folds of views",
        "infinite-width | as fitted",
        "infinite-width | held-out views",
    ]
    assert all(
        cell["settings"]["held_out"] == share for cell, share in zip(one[1:], (0, 0.1), strict=True)
    )


def test_coverage_is_that_of_the_curve_and_held_out_views_are_named(folders):
    for cell in _cells(folders[0]):
        assert cell["curves"]["all"][9] == pytest.approx(cell["regions"]["all"]["cover50"])
        assert cell["curves"]["body"][18] == pytest.approx(cell["regions"]["body"]["cover95"])
        fitted = cell["method"].endswith(AS_FITTED)
        assert (cell["calibration"] == "none") == fitted


def test_the_report_has_a_row_a_way_and_its_picture(folders):
    text = (folders[0] / "ct_calibration_quick.md").read_text()
    assert text.count("| infinite-width | as fitted | 1 |") == 3  # everything, body, edges
    assert str(folders[0]) not in text
    assert (folders[0] / "ct_calibration_quick.png").stat().st_size > 10_000


def test_what_is_kept_is_reported_alone(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(ct_calibration, "run_cells", None)
    kept = str(folders[0] / "ct_calibration_quick_cells.json")
    asked = ["--quick", "--methods", "infinite-width", "--report-alone", "--out", str(tmp_path)]
    text = ct_calibration.main([*asked, "--kept", kept, "--note", "Of one variant."]).read_text()
    assert "\n\nOf one variant.\n\n" in text
    assert "| jackknife |" not in text
    assert text.count("| infinite-width | as fitted | 1 |") == 3
    assert "--report-alone" not in text
    with pytest.raises(SystemExit, match="expected kept cells in"):
        ct_calibration.main([*asked, "--kept", str(tmp_path / "none.json")])


def _record(method, *, cover95, ece, nll=-1.0):
    scores = {"cover95": cover95, "ece": ece, "nll": nll, "const_nll": -0.5}
    return {"data": "A", "split": 0, "method": method, "regions": {"all": scores}}


def test_the_first_paragraph_names_what_fails():
    good = _record(f"one | {AS_FITTED}", cover95=0.5, ece=0.3)
    helped = _record(f"one | {BY_VIEWS}", cover95=0.94, ece=0.01)
    fine = _record(f"two | {AS_FITTED}", cover95=0.95, ece=0.01)
    harmed = _record(f"two | {BY_VIEWS}", cover95=0.995, ece=0.1, nll=0.0)
    assert outcome([good, helped]) == (
        "Held-out views lower the calibration error in 1 of 1 cases. With them every variant's "
        "95 % intervals hold between 90 and 99 %. All of these beat one width for all pixels."
    )
    level = _record(f"two | {BY_VIEWS}", cover95=0.95, ece=0.0105)
    assert outcome([good, helped, fine, level]).startswith(
        "Held-out views lower the calibration error in 1 of 2 cases; they leave it as it is for "
        "two on A. With"
    )
    assert outcome([good, helped, fine, harmed]) == (
        "Held-out views lower the calibration error in 1 of 2 cases; they raise it for two on A. "
        "Still badly calibrated, their 95 % intervals holding less than 90 or more than 99 %: "
        "two with held-out views on A (100 %). No better than one width for all pixels: "
        "two with held-out views on A."
    )


def test_what_failed_stands_in_the_table_with_its_reason():
    lost = {"data": "A", "split": 0, "method": f"one | {AS_FITTED}", "error": "ValueError: no"}
    made = report([lost], name="n", command="c", side=8, views=3, absent=["B"])
    assert "ValueError: no" in made.rows[0]
    assert len(made.rows[0]) == len(made.columns)
    assert "Not here, so left out: B." in made.notes
    assert figure([lost], [0.5]) is None


def test_every_variant_can_be_made_both_ways():
    for variant in variants(quick=False):
        for way in variant.ways:
            share = variant.method(way).settings().get("held_out")
            assert share in {None, 0.1 if way == BY_VIEWS else 0.0}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--methods", "magic"], "expected some of jackknife"),
        (["--side", "100"], "expected a divisor of 512, got 100"),
        (["--views", "0"], "--views: expected 1 or more"),
    ],
)
def test_wrong_options_are_refused_before_work(wrong, says, capsys):
    with pytest.raises(SystemExit):
        ct_calibration.parsed(wrong)
    assert says in capsys.readouterr().err
