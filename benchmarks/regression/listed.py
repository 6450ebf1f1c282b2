"""All methods, in the order of tables, and which of them are whose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from benchmarks.regression.ard_gp import ArdGP, with_factors
from benchmarks.regression.deep_ensemble import DeepEnsemble
from benchmarks.regression.dropout import MCDropout
from benchmarks.regression.ensemble import Ensemble
from benchmarks.regression.hmc import HMC
from benchmarks.regression.laplace import OwnLaplace
from benchmarks.regression.laplace_torch import LaplaceTorch
from benchmarks.regression.leave_one_out import held_out_noise
from benchmarks.regression.mean_field import MeanField
from benchmarks.regression.method import Method, Settings
from benchmarks.regression.ntkgp import FACTORS, ExactNTKGP
from benchmarks.regression.single import SingleNetwork
from benchmarks.regression.trees import BoostedTrees
from ensembles import (
    anchored,
    deep_ensemble,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
    randomised_prior,
)

Each = TypeVar("Each", bound=Method)


class WithPrior(Method, Protocol):
    """A method whose prior is chosen once for all of its kind, by the exact process."""

    def with_prior(self, settings: Settings) -> WithPrior:
        """Return the method with its prior chosen."""

    def smaller(self) -> WithPrior:
        """Return the method as small as a smoke run needs."""


def named(*methods: Each) -> dict[str, Each]:
    """Return methods by their names."""
    return {method.name: method for method in methods}


LINEAR_WIDTH = 256  # of NTKGP-lin, which needs one step only

EXACT = ExactNTKGP()
FAMILY = named(
    Ensemble(name="NTKGP-param", method=ntkgp_param()),
    Ensemble(name="NTKGP-fn", method=ntkgp_fn()),
    Ensemble(name="NTKGP-lin", method=ntkgp_lin(), width=LINEAR_WIDTH),
)
"""Our ensembles, of which validation parts choose one."""
SAME_PRIOR = named(
    Ensemble(name="anchored", method=anchored()),
    Ensemble(name="RP-fn", method=randomised_prior()),
    Ensemble(name="deep ensemble, our prior", method=deep_ensemble()),
)
"""Other ensembles, with the prior that was chosen for ours."""
SAMPLED = named(HMC())
"""Its prior is chosen alike; for small sets alone."""
PEERS = named(
    BoostedTrees(),
    SingleNetwork(),
    MCDropout(),
    ArdGP(),
    ArdGP(
        name="ARD GP, our noises",
        candidates=with_factors(*FACTORS),
        predictive_noise=held_out_noise,
    ),
    DeepEnsemble(),
    LaplaceTorch(),
    MeanField(),
    OwnLaplace(),
)
"""What others use; cheap ones first."""
WITH_PRIOR: Mapping[str, WithPrior] = {**FAMILY, **SAME_PRIOR, **SAMPLED}
NAMES = (EXACT.name, *WITH_PRIOR, *PEERS)
