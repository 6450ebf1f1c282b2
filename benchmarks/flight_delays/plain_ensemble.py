"""Deep ensembles as they are used: ReLU networks that know no marginal likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from bayesnn.networks import mlp
from bayesnn.seeds import seeded_generator
from benchmarks.flight_delays.ensemble_methods import fit_mixture
from benchmarks.flight_delays.method import TRAINING, Predict, Problem, Settings
from benchmarks.flight_delays.noise import DEGREES
from ensembles import deep_ensemble, student_t

PLACE = (0, 9)  # of the random stream of the network
# of 0.3, 1 and 3 the largest rate did best on validation days of seed 1, so more is offered
PLAIN = tuple({"rate": rate, "steps": share} for rate in (3.0, 10.0) for share in (0.4, 1.0))


@dataclass(frozen=True, kw_only=True)
class PlainEnsemble:
    """Lakshminarayanan et al., NeurIPS 2017, on standardised features; one member where `single`.

    Noise is Student's t and depends on the flight, as that of all networks here does.

    Attributes:
        name: in tables.
        single: whether to train one network alone.
    """

    name: str
    single: bool = False

    @property
    def spends(self) -> Sequence[str]:
        """Return the parts of the budget on which its numbers depend."""
        return TRAINING if self.single else ("members", *TRAINING)

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return learning rates, in units of the package's default, with shares of the steps."""
        return PLAIN

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        """Train the members; nothing holds them."""
        budget = problem.budget
        network = mlp(
            in_features=problem.x.shape[1],
            out_features=2,
            width=budget.width,
            depth=budget.depth,
            activation=nn.ReLU(),
            weight_std=2**0.5,
            generator=seeded_generator(problem.seed, *PLACE),
        )
        return fit_mixture(
            network,
            problem,
            method=deep_ensemble(),
            members=1 if self.single else budget.members,
            likelihood=student_t(degrees_of_freedom=DEGREES, beta=0.0),
            noise_std=1.0,
            inputs=_standardised,
            steps=problem.steps(settings["steps"]),
            rate=settings["rate"],
        )


def _standardised(x: Tensor) -> Tensor:
    return x
