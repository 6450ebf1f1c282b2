"""Laws of every coordinate network."""

import json

import pytest
import torch
from torch.func import functional_call

from ct.inr.coordinates import pixel_coordinates
from ct.inr.feature_grid import FeatureGrid
from ct.inr.fourier_network import FourierNetwork
from ct.inr.links import identity, sigmoid, softplus
from ct.inr.pixel_grid import PixelGrid

NETWORKS = [
    FeatureGrid(coarsest=4, channels=3, width=8),
    FeatureGrid(coarsest=4, finest=7, channels=2, width=8, depth=1, activation=torch.relu),
    FeatureGrid(coarsest=4, channels=2, width=8, link=softplus),
    FourierNetwork(n_frequencies=10, frequency_std=5.0, width=12, depth=2),
    FourierNetwork(n_frequencies=10, width=12, depth=1, link=sigmoid),
    PixelGrid(link=softplus),
]
SHAPES = [(12, 12), (9, 14), (15, 4), (1, 6)]


def _build(config, shape=(9, 14), seed=0):
    return config.build(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: c.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rendering_equals_evaluating_point_by_point(config, shape, device):
    image = _build(config, shape).to(device, torch.float64)
    points = pixel_coordinates(shape).to(device)
    one_by_one = torch.stack([image.at(point[None])[0] for point in points.reshape(-1, 2)])
    assert torch.allclose(image().flatten(), one_by_one, atol=1e-9)
    assert tuple(image().shape) == shape


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: c.name)
def test_gradients_reach_every_parameter(config, device):
    image = _build(config).to(device)
    image().square().sum().backward()
    for name, parameter in image.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: c.name)
def test_the_generator_decides_everything(config):
    before = torch.get_rng_state()
    first, same, other = _build(config), _build(config), _build(config, seed=1)
    assert torch.equal(first(), same())
    assert not torch.equal(first(), other())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: c.name)
def test_dropout_units_name_axes_of_parameters_that_change_the_image(config):
    image = _build(config)
    params = dict(image.named_parameters())
    assert image.dropout_units
    for name, axes in image.dropout_units.items():
        assert all(axis < params[name].ndim for axis in axes)
        changed = functional_call(image, {**params, name: torch.zeros_like(params[name])}, ())
        assert not torch.equal(changed, image())


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: c.name)
def test_settings_say_everything_and_fit_into_json(config):
    assert set(json.loads(json.dumps(config.settings()))) == set(vars(config))


def test_links_bound_the_image():
    low = _build(NETWORKS[2])()
    assert bool((low > 0).all())
    unit = _build(NETWORKS[4])()
    assert bool(((unit > 0) & (unit < 1)).all())


@pytest.mark.parametrize("link", [identity, sigmoid, softplus], ids=lambda link: link.name)
@pytest.mark.parametrize("value", [0.05, 0.4, 0.95])
def test_links_are_inverted_and_images_start_there(link, value):
    back = link.function(torch.tensor(link.inverse(value), dtype=torch.float64))
    assert torch.isclose(back, torch.tensor(value, dtype=torch.float64))
    image = FeatureGrid(link=link).build((8, 8), start=value, generator=torch.Generator())()
    assert torch.allclose(image, torch.full((8, 8), value), atol=0.05)


def test_the_published_network_has_the_published_size():
    image = _build(FourierNetwork(), shape=(4, 4))
    assert sum(p.numel() for p in image.parameters()) == 597_241
    assert image.dropout_units == {f"weights.{layer}": (1,) for layer in range(1, 7)}


def test_levels_double_up_to_the_image_or_the_finest():
    assert FeatureGrid().levels(512) == [16, 32, 64, 128, 256]
    assert FeatureGrid(finest=100).levels(512) == [16, 32, 64, 100]
    assert FeatureGrid(coarsest=5).levels(2) == [2]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (FeatureGrid, {"coarsest": 1}),
        (FeatureGrid, {"channels": 0}),
        (FeatureGrid, {"width": 0}),
        (FourierNetwork, {"frequency_std": -1.0}),
        (FourierNetwork, {"depth": 0}),
    ],
)
def test_impossible_sizes_are_refused(kind, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)
