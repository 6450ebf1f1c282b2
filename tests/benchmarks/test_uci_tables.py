import json

import numpy as np
import pytest

from benchmarks import uci
from benchmarks.comparison.paired import over_splits
from benchmarks.record_file import read_records
from benchmarks.regression.listed import FAMILY
from benchmarks.regression.uci_figure import save_figure
from benchmarks.regression.uci_lead import lead
from benchmarks.regression.uci_notes import notes
from benchmarks.regression.uci_summary import BEST, summaries
from benchmarks.regression.uci_tables import COLUMNS, copies_table, rows
from benchmarks.report import RESULTS

PARAM, FN, LIN = FAMILY
SCORES = ("rmse", "crps", "ece", "coverage 50", "coverage 95", "width 50", "width 95",
          "even coverage 50", "even coverage 95", "nll near", "nll middle", "nll far",
          "coverage near", "coverage middle", "coverage far", "nll alone", "seconds")  # fmt: skip


def _record(method, split, nll, validation=None, data="yacht", copied=0):
    found = dict.fromkeys(SCORES, 0.5) | {"data": data, "split": split, "method": method}
    found |= {"nll": nll, "settings": "s", "density": "moments", "facts": {"converged": 1.0}}
    found["copied"] = copied
    return found if validation is None else found | {"validation nll": validation}


def _records():
    family = {  # NLL and validation NLL by split
        PARAM: ((1.0, 0.3), (1.2, 0.9), (0.9, 0.2)),
        FN: ((0.1, 0.5), (2.0, 0.8), (0.2, 0.5)),
        LIN: ((0.5, 0.4), (0.5, 1.0), (0.4, 0.4)),
    }
    others = {"MC dropout": (2.0, 2.5, 1.8), "ARD GP": (0.9, 1.1, 0.8)}
    return [
        *(_record(m, i, *each) for m, found in family.items() for i, each in enumerate(found)),
        *(_record(m, i, nll) for m, found in others.items() for i, nll in enumerate(found)),
        {"data": "yacht", "split": 2, "method": "HMC", "error": "ValueError: no"},
    ]


def test_the_best_of_the_family_is_chosen_by_validation_alone():
    (one,) = summaries(_records())
    assert [one.by_method[BEST][i]["nll"] for i in range(3)] == [1.0, 2.0, 0.9]
    assert one.failed == {("HMC", 2): "ValueError: no"}


def test_means_errors_and_paired_differences():
    (one,) = summaries(_records())
    assert one.mean("MC dropout", "nll") == pytest.approx(2.1)
    expected = np.std([2.0, 2.5, 1.8], ddof=1) / np.sqrt(3)
    assert one.standard_error("MC dropout", "nll") == pytest.approx(expected)
    assert one.against_best("MC dropout") == over_splits(
        [2.0, 2.5, 1.8], [1.0, 2.0, 0.9], test_share=1 - 0.9
    )
    assert one.against_best(BEST) is None
    assert one.mean("MC dropout", "converged") == 1.0
    assert np.isnan(one.mean("MC dropout", "moved"))


def test_differences_are_taken_on_common_splits():
    (one,) = summaries([each for each in _records() if (each["method"], each["split"]) != (LIN, 0)])
    assert sorted(one.by_method[BEST]) == [1, 2]
    assert one.against_best("MC dropout").mean == pytest.approx(((2.5 - 2.0) + (1.8 - 0.9)) / 2)


def test_without_the_whole_family_nothing_is_called_best():
    (one,) = summaries([each for each in _records() if each["method"] != FN])
    assert BEST not in one.by_method
    assert one.against_best("MC dropout") is None
    assert "nothing is compared" in lead([one])


def test_the_first_paragraph_begins_with_losses():
    text = lead(summaries(_records()))
    assert text.startswith("The best NTKGP ensemble (chosen by validation")
    first = text.split(".  ")[0]
    assert "on yacht: ARD GP by 0.367" in first
    assert "NTKGP-lin by" not in text  # a member of the family is no rival
    assert text.endswith("(yacht 3), where published figures are of all: too few to conclude from.")
    assert "published one on 0 of 1 sets (yacht 1.300 ± 0.351 against 1.250)" in text
    assert "the same run's MC dropout it is lower on 1 of 1 (yacht -0.800" in text
    better = [each | {"nll": each["nll"] - 1} if each["method"] in FAMILY else each
              for each in _records() if "nll" in each]  # fmt: skip
    assert lead(summaries(better)).startswith("No method has a smaller mean NLL")


def test_the_first_paragraph_says_how_few_splits_a_method_has():
    few = [each for each in _records() if (each["method"], each["split"]) != ("ARD GP", 2)]
    assert "on yacht: ARD GP by 0.500 (1.1, 2 splits)." in lead(summaries(few))
    assert "splits)." not in lead(summaries(_records())).split(". ", 1)[0] + "."


def _with_copies():
    """NLL of all rows and without copies, by split."""
    found = {
        **dict.fromkeys(FAMILY, ((1.0, 1.4), (1.1, 1.3), (0.9, 1.5))),
        "overtakes": ((2.0, 1.1), (2.0, 1.2), (2.0, 1.3)),
        "behind": ((2.0, 2.0), (2.0, 2.1), (2.0, 2.2)),
        "ahead": ((0.5, 0.6), (0.6, 0.7), (0.4, 0.8)),
        "falls behind": ((0.5, 1.6), (0.6, 1.7), (0.4, 1.8)),
    }
    return [
        _record(method, i, nll, 0.1 if method in FAMILY else None, copied=4) | {"nll alone": alone}
        for method, each in found.items()
        for i, (nll, alone) in enumerate(each)
    ]


def test_a_lead_that_is_owed_to_copies_is_said():
    text = lead(summaries(_with_copies()))
    losses, copies, _ = text.split("On yacht", 1)[0], *text.split("On yacht", 1)[1].split(". ", 1)
    assert "yacht: ahead by 0.500" in losses
    assert "falls behind by 0.500" in losses
    assert copies.endswith(
        "copies of training rows, 4 a split: without them the best NTKGP ensemble's NLL is 1.400, "
        "and it is behind overtakes by 0.200 (3.0)"
    )
    assert "copies" not in lead(summaries(_records()))


def test_the_kept_report_is_of_the_kept_cells():
    cells = RESULTS / "uci_cells.json"
    methods = sorted({record["method"] for record in read_records(cells)})
    options = uci.parsed(["--join", str(cells), "--methods", *methods])
    sets = summaries(uci.joined_cells(options)[1])
    kept = json.loads((RESULTS / "uci.json").read_text())
    assert kept["lead"] == lead(sets)
    assert kept["lead"] in (RESULTS / "uci.md").read_text()
    assert kept["rows"] == [list(row) for row in rows(sets)]


def test_rows_are_in_order_with_the_published_number_among_them():
    found = rows(summaries(_records()))
    assert [row[1] for row in found] == [
        LIN, FN, "ARD GP", PARAM, "MC dropout, published", f"**{BEST}**", "MC dropout",
    ]  # fmt: skip
    assert all(len(row) == len(COLUMNS) for row in found)
    assert found[-1][5] == "+0.800"
    assert found[2][5] == "-0.367"


def test_copies_have_a_table_where_there_are_any():
    assert copies_table(summaries(_records())) == ""
    some = [_record(PARAM, i, 1.0, 0.1, copied=4) for i in range(2)]
    assert "| yacht | NTKGP-param | 4.0 | 1.000 | 0.500 |" in copies_table(summaries(some))


def test_notes_and_figure_are_made_of_any_records(tmp_path):
    sets = summaries([*_records(), *(_record("MC dropout", i, 1.0, data="energy") for i in (0, 1))])
    text = "\n".join(notes(sets, "uci.png"))
    assert "yacht: HMC failed on 1 splits: ValueError: no" in text
    assert "torch-uncertainty is left out" in text
    save_figure(tmp_path / "uci.png", sets)
    assert (tmp_path / "uci.png").read_bytes()[:4] == b"\x89PNG"
