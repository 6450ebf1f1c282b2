import pytest
import torch

from bayesnn.seeds import seeded_generator


def test_streams_depend_on_seed_and_place_only():
    before = torch.get_rng_state()
    draws = [
        torch.randn(4, generator=seeded_generator(s, *p))
        for s, p in ((0, ()), (0, (1,)), (0, (1, 0)), (1, (1,)), (0, (2,)))
    ]
    again = torch.randn(4, generator=seeded_generator(0, 1))
    assert torch.equal(draws[1], again)
    for i, a in enumerate(draws):
        assert all(not torch.equal(a, b) for b in draws[i + 1 :])
    assert torch.equal(torch.get_rng_state(), before)


def test_negative_seeds_are_refused():
    with pytest.raises(ValueError, match="at least 0"):
        seeded_generator(-1)
