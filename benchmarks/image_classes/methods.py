"""The methods that are compared, and what each may try: the same number of candidates."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.image_classes.ensemble_methods import PLAIN, alone, as_used, ensemble
from benchmarks.image_classes.functions import Candidate
from benchmarks.image_classes.infinite_width import infinite_candidates
from benchmarks.image_classes.laplace_readout import laplace_candidates
from benchmarks.image_classes.one_network import mc_dropout_candidates, mean_field_candidates
from ensembles import (
    anchored,
    deep_ensemble,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
    randomised_prior,
)

BASELINE = "deep ensemble"  # as they are used
SAME_LIKELIHOOD = "deep ensemble, our likelihood"  # and uncertainties, and scales of weights
# members with a randomised function added, and what they tend to as their width grows
OURS = ("RP-fn", "NTKGP-param", "NTKGP-fn", "NTKGP-lin", "infinite NTKGP")
ONE_NETWORK = ("MC dropout", "mean field", "Laplace read-out")  # posteriors of its parameters

METHODS: Mapping[str, tuple[Candidate, ...]] = MappingProxyType({
    "single network": alone(as_used()),
    BASELINE: as_used(),
    SAME_LIKELIHOOD: ensemble(deep_ensemble, PLAIN),
    "anchored": ensemble(anchored),
    "RP-fn": ensemble(randomised_prior),
    "NTKGP-param": ensemble(ntkgp_param),
    "NTKGP-fn": ensemble(ntkgp_fn),
    "NTKGP-lin": ensemble(ntkgp_lin),
    "MC dropout": mc_dropout_candidates(),
    "mean field": mean_field_candidates(),
    "Laplace read-out": laplace_candidates(),
    "infinite NTKGP": infinite_candidates(),
})
