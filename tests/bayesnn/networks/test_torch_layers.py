"""The prior of torch.nn's layers against torch's own initialisation, sampled."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import prior_precision, with_prior

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(20, 70),
    "Conv1d": lambda: nn.Conv1d(6, 40, 5, groups=2),
    "Conv2d": lambda: nn.Conv2d(4, 40, 3),
    "Conv3d": lambda: nn.Conv3d(2, 30, 3),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(30, 12, 5, groups=3),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(20, 6, 3),
    "ConvTranspose3d": lambda: nn.ConvTranspose3d(20, 3, 3),
    "Embedding": lambda: nn.Embedding(30, 50),
    "EmbeddingBag": lambda: nn.EmbeddingBag(30, 50),
    "Bilinear": lambda: nn.Bilinear(5, 20, 30),
    "RNN": lambda: nn.RNN(7, 30, num_layers=2),
    "GRU": lambda: nn.GRU(7, 20, bidirectional=True),
    "LSTM": lambda: nn.LSTM(7, 20, proj_size=6),
    "LSTMCell": lambda: nn.LSTMCell(7, 20),
    "MultiheadAttention": lambda: nn.MultiheadAttention(24, 2),
    "MultiheadAttention, its own key and value sizes": lambda: nn.MultiheadAttention(
        24, 2, kdim=30, vdim=60, add_bias_kv=True
    ),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(24, 2, 60),
    "Transformer": lambda: nn.Transformer(24, 2, 1, 1, 60, batch_first=True),
    "LayerNorm": lambda: nn.LayerNorm(30),
    "RMSNorm": lambda: nn.RMSNorm(30),
    "GroupNorm": lambda: nn.GroupNorm(2, 30),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(30, affine=True),
    "PReLU": lambda: nn.PReLU(30),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_prior_variance_is_that_of_torchs_initialisation(name: str) -> None:
    """With n draws the mean square is within 5·√(2/n) of the variance: Gaussian or narrower tails.

    What has no spread in torch's draws is held fixed, and nothing else is.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        copies = [LAYERS[name]() for _ in range(30)]
    network = with_prior(copies[0])
    trained = {key for key, p in network.named_parameters() if p.requires_grad}
    precision = prior_precision(network)
    assert set(precision) == trained
    for key, first in copies[0].named_parameters():
        draws = torch.stack([c.get_parameter(key).detach() for c in copies])
        assert bool((draws == first).all()) == (key not in trained)
        if key in trained:
            assert precision[key].unique().numel() == 1
            found = float((draws**2).mean() * precision[key].flatten()[0])
            assert abs(found - 1) < 5 * math.sqrt(2 / draws.numel())


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(3), nn.BatchNorm2d(3, affine=False), nn.BatchNorm3d(3),
        nn.SyncBatchNorm(3), nn.LazyBatchNorm1d(),
    ],
    ids=lambda norm: type(norm).__name__,
)  # fmt: skip
def test_batch_normalisation_is_refused_with_advice(norm: nn.Module) -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Sequential(norm), nn.Linear(3, 1))
    for function in (prior_precision, with_prior):
        with pytest.raises(ValueError, match=r"BatchNorm.*LayerNorm or GroupNorm"):
            function(network)


def test_lazy_layers_must_have_been_called_once() -> None:
    network = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(ValueError, match=r"LazyLinear.*call the network once"):
        with_prior(network)
    network(torch.zeros(2, 4))
    assert set(prior_precision(with_prior(network))) == {"0.weight", "0.bias"}


class OwnLinear(nn.Linear):
    """A layer of a user's that says its own prior."""

    def own_prior_precision(self) -> dict[str, float]:
        return {"weight": 2.0, "bias": 3.0}

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def test_what_a_layer_says_itself_comes_before_torchs_rule() -> None:
    precision = prior_precision(nn.Sequential(OwnLinear(2, 2)))
    assert float(precision["0.weight"][0, 0]) == 2.0
    assert float(precision["0.bias"][0]) == 3.0
