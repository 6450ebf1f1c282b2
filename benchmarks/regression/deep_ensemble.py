"""Deep ensembles as they are used: plain networks, no regulariser, noise learned with the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from bayesnn import Predictive
from bayesnn.networks import mlp
from bayesnn.seeds import seeded_generator
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.perceptron import BATCH, WIDTH
from ensembles import EnsembleRegressor, adam, deep_ensemble, gaussian, heteroscedastic

PLACE = (0, 9)


@dataclass(frozen=True, kw_only=True)
class DeepEnsemble:
    """Members of one hidden layer of 50 ReLU units (Lakshminarayanan et al., NeurIPS 2017)."""

    name: ClassVar[str] = "deep ensemble"
    n_members: int = 10
    candidates: Sequence[Settings] = tuple(
        {"likelihood": likelihood, "steps": steps}
        for likelihood in (heteroscedastic(), gaussian())
        for steps in (300, 1000)
    )

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Train the members."""
        likelihood = settings["likelihood"]
        network = mlp(
            in_features=X.shape[1],
            out_features=likelihood.n_network_outputs(1),
            width=WIDTH,
            depth=1,
            activation=nn.ReLU(),
            weight_std=2**0.5,
            generator=seeded_generator(seed, *PLACE),
        )
        model = EnsembleRegressor(
            network,
            method=deep_ensemble(),
            n_members=self.n_members,
            likelihood=likelihood,
            standardize=False,
            trainer=adam(steps=settings["steps"], batch_size=BATCH),
            random_state=seed,
        ).fit(X.float(), y.float())

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            return model.posterior(rows.float(), keep_members=True)

        return Fitted(predict=predict)
