"""What the UCI report says about how its numbers came about."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.regression import uci_tables as tables
from benchmarks.regression.listed import FAMILY, LINEAR_WIDTH
from benchmarks.regression.method import MOST_CANDIDATES
from benchmarks.regression.prior import DEPTH, MOST_ROWS
from benchmarks.regression.uci_summary import SetSummary

_MEMBERS = next(iter(FAMILY.values()))


def notes(sets: Sequence[SetSummary], picture: str) -> list[str]:
    """Return the paragraphs after the main table."""
    copies = tables.copies_table(sets)
    return [
        f"![NLL of all methods]({picture})",
        (
            "NLL is the mean over test rows, then over splits; ± is s/√splits. Differences to the best "
            "NTKGP ensemble (below 0: the other method is better) are paired by split, and their "
            "standard errors are those of the corrected resampled t-test, as splits share most rows "
            "(Nadeau and Bengio, 2003). ECE is over central intervals; intervals are of the moments. "
            '"Even width" is the coverage of the same variance spread evenly over all rows: an '
            "uncertainty that holds no more tells nothing about where the errors are."
        ),
        (
            "**Rules.** Each split's training rows are taken once where they stand twice, and every "
            "method sees every column twice, standardised and as normal scores by rank among the "
            f"training rows. A method chooses among at most {MOST_CANDIDATES} settings by NLL on a "
            "fifth of the training rows, and the density with them: of its moments (Gaussian, or "
            "Student-t for the moments of members) or the mixture of its members; then it is fitted to "
            "all training rows. Test rows are seen once, by the scores. Published MC dropout saw "
            "standardised columns alone, and its rows twice where they stand twice."
        ),
        (
            f"**Our prior.** An erf network of {DEPTH} hidden layer; the marginal likelihood of the "
            f"infinitely wide network's NTK process, on {MOST_ROWS} rows at most, chooses the scale of "
            "each input (or one for all), that of the read-out, and the noise. One choice a split, "
            "by the exact process's validation NLL, serves all methods of this table; none of them "
            "is validated on its own. The best NTKGP ensemble is, on each split, the member of the "
            f"family with the smallest validation NLL. Ensembles have {_MEMBERS.n_members} members of "
            f"width {_MEMBERS.width} ({LINEAR_WIDTH} for NTKGP-lin), trained by at most "
            f"{_MEMBERS.steps} steps of Gauss–Newton up to 700 rows (NTKGP-lin always), and by "
            f"{_MEMBERS.adam_steps} steps of Adam beyond."
        ),
        (
            "**Did members converge, and stay lazy?** Converged is the trainer's own criterion (Adam "
            "has none but finite numbers). Moved is ‖θ − θ₀‖/‖θ₀‖: far below 1 in the lazy regime. "
            "Mean off exact is the root mean square distance of the mean from the exact process's, in "
            "its epistemic standard deviations; exact samples of 10 members have about 0.32. Spread to "
            "exact is the median ratio of epistemic standard deviations."
        ),
        tables.diagnosis_table(sets),
        (
            "**The prior before and after.** Log marginal likelihood of a training row, and the share of "
            "training targets in the prior's central 95 % intervals."
        ),
        tables.prior_table(sets),
        "**By region of the input**: test rows in thirds by distance to the nearest training row.",
        tables.region_table(sets),
        *(
            [
                (
                    "**Copies.** Some test rows stand among the training rows too, target included; a "
                    "method that takes the noise for nothing gains by them. Without these rows:"
                ),
                copies,
            ]
            if copies
            else []
        ),
        "**What was chosen.**",
        tables.choices_table(sets),
        *tables.failures(sets),
        (
            "Hamiltonian Monte Carlo runs on yacht alone, one chain, whose R-hat tells that it has not "
            "settled where it is above 1.05. torch-uncertainty is left out: its wheels need "
            "torchvision of torch's own build. Peers are one hidden layer of 50 ReLU units, as in the "
            "published protocol."
        ),
    ]
