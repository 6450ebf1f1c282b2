import numpy as np
import torch

import ct
from ct.nonlocal_prior import patch_prior
from ct.nonlocal_prior.blocks import blocks_of, match_blocks
from ct.nonlocal_prior.data_step import DataStep
from ct.nonlocal_prior.patch_prior import PatchPrior
from tests.ct.nonlocal_prior.test_bm3d import GRID, SCAN, _rays
from tests.reference import block_matching as naive


def _image(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cleaning_is_a_threshold_and_then_a_wiener_filter_with_its_result():
    image = _image(12, 10, seed=0).cumsum(0)
    # noise of one drawn image, which is far stronger on one side
    noise = _image(1, 12, 10, seed=1) * torch.linspace(0.1, 1.5, 10)
    prior = PatchPrior(image[None], patch=4, group=4, reach=4, stride=2)
    found = prior.clean(image[None], noise[:, None], strength=1.3, match=True)[0]
    blocks = blocks_of((12, 10), side=4, group=4, reach=4, stride=2)
    groups = [
        [divmod(n, blocks.places[1]) for n in one] for one in match_blocks(image, blocks).tolist()
    ]
    window = np.outer(*2 * [np.kaiser(4, 2.0)])
    levels = naive.local_variances(1.3 * noise.numpy(), 4, 0.3)
    pilot = naive.clean(image.numpy(), groups, 4, naive.threshold(2.7), window, levels)
    expected = naive.clean(image.numpy(), groups, 4, naive.wiener, window, levels, pilot)
    assert np.allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)
    assert np.abs(pilot - expected).max() > 1e-3


def test_each_slice_has_its_own_noise():
    images = _image(2, 16, 16, seed=2)
    noise = _image(2, 1, 16, 16, seed=3) * torch.tensor([0.1, 2.0])[:, None, None]
    settings = {"patch": 4, "group": 4, "reach": 4, "stride": 2}
    together = PatchPrior(images, **settings).clean(images, noise, strength=1.0, match=True)
    for k in range(2):
        alone = PatchPrior(images[k : k + 1], **settings).clean(
            images[k : k + 1], noise[:, k : k + 1], strength=1.0, match=True
        )
        assert torch.equal(together[k], alone[0])
    assert together[1].std() < 0.6 * together[0].std()


def test_the_priors_weight_grows_and_groups_are_formed_anew(monkeypatch):
    weights, matchings, iterated = [], [], []
    step, match = DataStep.__call__, patch_prior.match_blocks

    def recorded(self, guess, weight, iterations):
        weights.append(weight)
        iterated.append(iterations)
        # noise without rays would be zero; the image goes on from the one cleaned last
        assert guess[0].any()
        assert not guess[1:].any()
        return step(self, guess, weight, iterations)

    def counted(*arguments, **portions):
        matchings.append(len(weights))
        return match(*arguments, **portions)

    monkeypatch.setattr(DataStep, "__call__", recorded)
    monkeypatch.setattr(patch_prior, "match_blocks", counted)
    ct.reconstruct(_rays().sinograms[0] + 3.0, SCAN, GRID, method=ct.bm3d(steps=5), noise_std=0.1)
    assert np.allclose(weights, 0.6 * (80 / 0.6) ** (np.arange(5) / 4))
    assert iterated == [8] * 5
    assert matchings == [1, 4]
