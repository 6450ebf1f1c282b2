"""Boosted trees that predict a variance, with virtual ensembles: CatBoost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn import Predictive
from benchmarks.regression.method import Fitted, Settings

VIRTUAL = 10  # ensembles cut from one sequence of trees


@dataclass(frozen=True, kw_only=True)
class BoostedTrees:
    """CatBoost's RMSEWithUncertainty; epistemic variance from virtual ensembles.

    Source: Malinin, Prokhorenkova, Ustimenko, Uncertainty in gradient boosting via ensembles,
    ICLR 2021.
    """

    name: ClassVar[str] = "boosted trees"
    candidates: Sequence[Settings] = tuple(
        {"depth": depth, "iterations": iterations} for depth in (3, 6) for iterations in (150, 500)
    )

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Grow the trees."""
        from catboost import CatBoostRegressor  # an optional peer

        model = CatBoostRegressor(
            loss_function="RMSEWithUncertainty",
            posterior_sampling=True,
            depth=settings["depth"],
            iterations=settings["iterations"],
            learning_rate=0.1,
            random_seed=seed,
            thread_count=1,
            verbose=False,
            allow_writing_files=False,
        )
        model.fit(X.numpy(), y.numpy())

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            found = model.virtual_ensembles_predict(
                rows.numpy(),
                prediction_type="TotalUncertainty",
                virtual_ensembles_count=VIRTUAL,
                thread_count=1,
            )
            mean, epistemic, noise = torch.as_tensor(found, dtype=torch.float64).unbind(1)
            return Predictive(mean=mean, epistemic_variance=epistemic, noise_variance=noise)

        return Fitted(predict=predict)
