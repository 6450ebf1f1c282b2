"""Constant attention: what it computes, draws and refuses."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from bayesnn.networks import (
    AttentionMixing,
    Cosine,
    InfiniteFourierFeatures,
    NTKLinear,
    Sine,
    TokenMean,
    build,
    describe,
)
from bayesnn.seeds import seeded_generator


def test_tokens_are_mixed_by_rows_that_sum_to_one() -> None:
    mixing = AttentionMixing(5, queries=3, generator=seeded_generator(0))
    assert mixing.weights.shape == (3, 5)
    torch.testing.assert_close(mixing.weights.sum(1), torch.ones(3))
    assert not list(mixing.parameters())
    x = torch.randn(2, 5, 4, generator=seeded_generator(1))
    expected = torch.stack([sum(row[t] * x[:, t] for t in range(5)) for row in mixing.weights], 1)
    torch.testing.assert_close(mixing(x), expected)
    assert torch.equal(TokenMean()(x), x.mean(1))


def test_weights_of_ones_own_are_held() -> None:
    weights = torch.tensor([[2.0, -1.0, 0.5]])
    mixing = AttentionMixing.from_weights(weights)
    weights.zero_()
    assert torch.equal(mixing.weights, torch.tensor([[2.0, -1.0, 0.5]]))
    assert (mixing.tokens, mixing.queries) == (3, 1)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens"):
        AttentionMixing(0)
    with pytest.raises(ValueError, match="queries"):
        AttentionMixing(2, queries=0)
    with pytest.raises(ValueError, match="logit_std: expected a number of at least 0"):
        AttentionMixing(2, logit_std=-1.0)
    with pytest.raises(ValueError, match="weights"):
        AttentionMixing.from_weights(torch.tensor([[float("nan")]]))
    for wave in (Sine, Cosine):
        with pytest.raises(ValueError, match="frequency"):
            wave(frequency=0.0)


def test_they_can_be_described() -> None:
    network = nn.Sequential(
        NTKLinear(3, 4), nn.LayerNorm(4, eps=1e-3, elementwise_affine=False), Sine(frequency=0.7),
        AttentionMixing(5, queries=2), NTKLinear(4, 4), nn.LayerNorm([2, 4]), Cosine(),
        nn.AvgPool2d((2, 1)), TokenMean(), NTKLinear(4, 1),
    )  # fmt: skip
    again = build(json.loads(json.dumps(describe(network))))
    assert describe(again) == describe(network)
    again.load_state_dict(network.state_dict(), assign=True)
    x = torch.randn(2, 5, 3, generator=seeded_generator(1))
    assert torch.equal(again(x), network(x))
    limit = InfiniteFourierFeatures(2, frequency_std=3.0)
    assert describe(build(describe(limit))) == describe(limit)
    with pytest.raises(ValueError, match="LayerNorm expects the settings"):
        build(describe(nn.LayerNorm(3)) | {"elementwise_affine": 1})
    with pytest.raises(ValueError, match="AvgPool2d expects the settings"):
        build(describe(nn.AvgPool2d(3)) | {"kernel_size": [2.0]})
