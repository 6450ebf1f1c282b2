"""MC dropout: a perceptron that loses units in training and in prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn import Predictive
from bayesnn.inference.mc_dropout import UnitDropout, draw_functions
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.perceptron import Params, evaluate, train

N_SAMPLES = 100
INPUTS = 1  # units along which a linear layer's weight [out, in] loses its inputs


@dataclass(frozen=True, kw_only=True)
class MCDropout:
    """Dropout of both layers' inputs; samples of functions give the epistemic variance.

    Source: Gal and Ghahramani, Dropout as a Bayesian approximation, ICML 2016, whose network this
    is; its noise is learned here, where theirs was searched for.
    """

    name: ClassVar[str] = "MC dropout"
    candidates: Sequence[Settings] = tuple(
        {"steps": steps, "weight_decay": 1e-5, "rate": rate}
        for steps in (300, 1000)
        for rate in (0.005, 0.05, 0.1)
    )

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Train with masks that are drawn anew for each row."""
        rate = settings["rate"]

        def thinned(values: Tensor, generator: torch.Generator) -> Tensor:
            kept = torch.rand(values.shape, generator=generator, dtype=values.dtype) >= rate
            return values * kept / (1 - rate)

        def through(params: Params, rows: Tensor, generator: torch.Generator) -> Tensor:
            hidden = thinned(rows, generator) @ params["0.weight"].mT + params["0.bias"]
            hidden = thinned(torch.relu(hidden), generator)
            return (hidden @ params["2.weight"].mT + params["2.bias"]).squeeze(-1)

        trained = train(X, y, settings=settings, seed=seed, through=through)
        units = UnitDropout(units={"0.weight": (INPUTS,), "2.weight": (INPUTS,)}, rate=rate)

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            functions = draw_functions(
                lambda params: evaluate(params, rows), trained.params, units, seed=seed
            )
            return Predictive.from_members(
                torch.stack(list(islice(functions, N_SAMPLES))),
                trained.noise_std**2,
                keep_members=True,
            )

        return Fitted(predict=predict)
