"""All methods of the comparison, in the order of its tables."""

from __future__ import annotations

from benchmarks.flight_delays.boosted_trees import BoostedTrees
from benchmarks.flight_delays.dropout import Dropout
from benchmarks.flight_delays.ensemble_methods import Ensemble
from benchmarks.flight_delays.mean_field import MeanFieldNetwork
from benchmarks.flight_delays.method import Method
from benchmarks.flight_delays.plain_ensemble import PlainEnsemble
from benchmarks.flight_delays.processes import ExactSubset, Sparse
from ensembles import anchored, deep_ensemble, ntkgp_fn, ntkgp_lin, ntkgp_param, randomised_prior

BASE = "deep ensemble"  # what the others are compared with
SINGLE = "single network"
SAME_PRIOR = "deep ensemble, our prior"
FAMILY = ("NTKGP-param", "NTKGP-fn", "NTKGP-lin")

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        PlainEnsemble(name=SINGLE, single=True),
        PlainEnsemble(name=BASE),
        Ensemble(name=SAME_PRIOR, method=deep_ensemble(), held=False),
        Ensemble(name="anchored", method=anchored()),
        Ensemble(name="RP-fn", method=randomised_prior()),
        Ensemble(name="NTKGP-param", method=ntkgp_param()),
        Ensemble(name="NTKGP-fn", method=ntkgp_fn()),
        Ensemble(name="NTKGP-lin", method=ntkgp_lin()),
        Dropout(),
        MeanFieldNetwork(),
        ExactSubset(),
        Sparse(),
        BoostedTrees(),
    )
}
