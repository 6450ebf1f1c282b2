"""CatBoost's trees that predict a mean and a variance, as an ensemble cut from one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.flight_delays.method import Predict, Problem, Settings
from benchmarks.flight_delays.mixture import Mixture

MOST_VIRTUAL = 10  # members cut from one model


@dataclass(frozen=True, kw_only=True)
class BoostedTrees:
    """Malinin, Prokhorenkova and Ustimenko, ICLR 2021: Langevin boosting, virtual ensembles."""

    name: ClassVar[str] = "CatBoost"

    @property
    def spends(self) -> Sequence[str]:
        """Return the part of the budget on which its numbers depend: it knows no GPU."""
        return ("trees",)

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return depths and learning rates."""
        return tuple({"depth": depth, "rate": rate} for depth in (4, 6) for rate in (0.03, 0.1))

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        """Boost trees by the negative log likelihood of N(mean, variance)."""
        from catboost import CatBoostRegressor

        model = CatBoostRegressor(
            loss_function="RMSEWithUncertainty",
            posterior_sampling=True,
            iterations=problem.budget.trees,
            depth=settings["depth"],
            learning_rate=settings["rate"],
            random_seed=problem.seed,
            thread_count=torch.get_num_threads(),
            verbose=False,
            allow_writing_files=False,
        ).fit(problem.x.numpy(), problem.y.numpy())
        count = min(MOST_VIRTUAL, max(1, problem.budget.trees // 10))

        def predict(points: Float[Tensor, "n 8"]) -> Mixture:
            found = model.virtual_ensembles_predict(
                points.numpy(), prediction_type="VirtEnsembles", virtual_ensembles_count=count
            )
            values = torch.as_tensor(found).double().reshape(len(points), count, 2)
            return Mixture(
                means=values[..., 0].T.contiguous(), stds=values[..., 1].T.sqrt().contiguous()
            )

        return predict
