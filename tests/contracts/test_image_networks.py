"""Laws of every coordinate network."""

import json

import pytest
import torch
from torch.func import functional_call

from ct.inr.coordinates import pixel_coordinates
from ct.inr.feature_grid import FeatureGrid
from ct.inr.fourier_network import FourierNetwork
from ct.inr.hash_grid import HashGrid
from ct.inr.hashed_plane import HashedPlane
from ct.inr.links import clipped, identity, sigmoid, softplus
from ct.inr.pixel_grid import PixelGrid
from ct.inr.siren import Siren

NETWORKS = [
    FeatureGrid(coarsest=4, channels=3, width=8),
    FeatureGrid(coarsest=4, finest=7, channels=2, width=8, depth=1, activation=torch.relu),
    FeatureGrid(coarsest=4, channels=2, width=8, link=softplus),
    FourierNetwork(n_frequencies=10, frequency_std=5.0, width=12, depth=2),
    FourierNetwork(n_frequencies=10, width=12, depth=1, link=sigmoid),
    PixelGrid(link=softplus),
    HashGrid(coarsest=4, entries=50, channels=3, width=8),
    HashGrid(coarsest=4, entries=7, channels=2, width=8, depth=1, activation=torch.tanh),
    Siren(width=12, depth=2),
    Siren(frequency=10.0, width=7, depth=3, link=clipped),
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


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: c.name)
def test_stacked_parameters_render_side_by_side(config, device):
    images = [_build(config, seed=seed).to(device, torch.float64) for seed in range(3)]
    buffers = dict(images[0].named_buffers())
    if any(not torch.equal(b, dict(images[1].named_buffers())[n]) for n, b in buffers.items()):
        images = images[:1] * 3  # drawn frequencies differ, so one network's
    members = [{n: p.detach() for n, p in image.named_parameters()} for image in images]
    members[1] = {name: 1.1 * value for name, value in members[1].items()}
    stacked = {name: torch.stack([m[name] for m in members]) for name in members[0]}

    def loss(params):
        return functional_call(images[0], params, ()).square().sum()

    together = torch.func.vmap(torch.func.grad(loss))(stacked)
    for index, member in enumerate(members):
        alone = torch.func.grad(loss)(member)
        for name, value in alone.items():
            assert torch.allclose(together[name][index], value, rtol=1e-9, atol=1e-11), name


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: c.name)
def test_forward_and_reverse_derivatives_agree(config):
    image = _build(config).double()
    params = {name: p.detach() for name, p in image.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    tangent = {n: torch.randn(p.shape, generator=generator).to(p) for n, p in params.items()}

    def render(values):
        return functional_call(image, values, ())

    cotangent = torch.rand(image.shape, generator=generator).double()
    _, along = torch.func.jvp(render, (params,), (tangent,))
    _, pull = torch.func.vjp(render, params)
    (back,) = pull(cotangent)
    product = sum(float((tangent[name] * back[name]).sum()) for name in params)
    assert abs(float((along * cotangent).sum()) - product) <= 1e-9 * max(abs(product), 1.0)


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: c.name)
def test_what_is_said_of_parameters_names_parameters(config):
    image = _build(config)
    names = {name for name, _ in image.named_parameters()}
    for said in (image.dropout_units, image.step_factors, image.prior_fan_in):
        assert set(said) <= names
    assert all(factor > 0 for factor in image.step_factors.values())


def test_links_bound_the_image():
    low = _build(NETWORKS[2])()
    assert bool((low > 0).all())
    unit = _build(NETWORKS[4])()
    assert bool(((unit > 0) & (unit < 1)).all())


LINKS = [identity, sigmoid, softplus, clipped]
every_link = pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)


@every_link
@pytest.mark.parametrize("value", [0.05, 0.4, 0.95])
def test_links_are_inverted_and_images_start_there(link, value):
    back = link.function(torch.tensor(link.inverse(value), dtype=torch.float64))
    assert torch.isclose(back, torch.tensor(value, dtype=torch.float64))
    image = FeatureGrid(link=link).build((8, 8), start=value, generator=torch.Generator())()
    assert torch.allclose(image, torch.full((8, 8), value), atol=0.05)


@every_link
def test_links_never_fall_and_keep_their_range(link):
    values = link.function(torch.linspace(-30, 30, 1001, dtype=torch.float64))
    assert bool((values.diff() >= 0).all())
    lowest, highest = {
        "identity": (-30, 30), "sigmoid": (0, 1), "softplus": (0, 31), "clipped": (0, 30)
    }[link.name]  # fmt: skip
    assert lowest <= float(values.min()) <= lowest + 1e-12
    assert float(values.max()) <= highest
    assert bool((values == 0).sum() > 1) == (link is clipped)


def test_the_clipped_links_gradient_is_that_of_a_projected_descent():
    values = torch.tensor([-1.0, -1.0, 0.0, 0.0, 2.0, 2.0], requires_grad=True)
    upstream = torch.tensor([3.0, -3.0, 3.0, -3.0, 3.0, -3.0])
    (gradient,) = torch.autograd.grad(clipped.function(values), values, upstream)
    # where the loss wants more, it always gets through; where it wants less, above zero alone
    assert gradient.tolist() == [0, -3, 0, -3, 3, -3]


def test_training_through_the_clipped_link_finds_exact_zeros_and_leaves_them_again():
    target = torch.zeros(6, 6, dtype=torch.float64)
    target[2:4, 1:5] = 0.7
    image = PixelGrid(link=clipped).build((6, 6), start=0.3, generator=torch.Generator()).double()

    def train(wanted):
        optimiser = torch.optim.Adam(image.parameters(), lr=0.02)
        for _ in range(400):
            optimiser.zero_grad()
            (image() - wanted).square().sum().backward()
            optimiser.step()
        return image().detach()

    found = train(target)
    assert torch.allclose(found, target, atol=1e-3)
    assert bool((train(target - 0.1)[target == 0] == 0).all())
    assert torch.allclose(train(0.7 - target), 0.7 - target, atol=1e-3)


def test_sines_start_with_phases_of_unit_variance_at_any_depth():
    network = Siren(width=512, depth=6)
    image = network.build((24, 24), generator=torch.Generator().manual_seed(0)).double()
    hidden = pixel_coordinates((24, 24)).reshape(-1, 2)
    with torch.no_grad():
        for layer, (weight, bias) in enumerate(zip(image.weights, image.biases, strict=True)):
            phase = 30.0 * (hidden @ weight.T + bias)
            if 0 < layer < 6:
                # weights alone give one; biases, within ±30/√512, add a half of it
                assert abs(float(phase.var()) - 1 - 30**2 / 512 / 3) < 0.25
            hidden = torch.sin(phase)
        assert float((image() - 0.5).abs().max()) < 0.5


def test_hashed_planes_are_gathers_with_the_adjoint_of_a_gather():
    plane = HashedPlane((9, 13), 20)
    table = torch.randn(3, 20, dtype=torch.float64, requires_grad=True)
    index = (torch.arange(13) ^ (torch.arange(9)[:, None] * 2654435761)) % 20
    assert torch.equal(plane(table), table[:, index])
    weights = torch.randn(3, 9, 13, dtype=torch.float64)
    (found,) = torch.autograd.grad((plane(table) * weights).sum(), table)
    (expected,) = torch.autograd.grad((table[:, index] * weights).sum(), table)
    assert torch.allclose(found, expected, atol=1e-14)
    assert torch.autograd.gradcheck(plane, table, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(plane, table)


def test_a_table_with_room_for_all_nodes_is_a_feature_grid():
    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    grid = FeatureGrid(finest=32, width=8).build((20, 32), generator=generators[0])
    hashed = HashGrid(finest=32, width=8).build((20, 32), generator=generators[1])
    assert torch.allclose(grid(), hashed(), atol=1e-6)


@pytest.mark.parametrize("config", [HashGrid(coarsest=8, entries=64, channels=4, width=16)])
def test_gradients_are_the_same_bits_each_time(config, device):
    image = _build(config, (64, 48)).to(device)
    weights = torch.randn(64, 48, generator=torch.Generator().manual_seed(0)).to(device)
    runs = []
    for _ in range(3):
        found = torch.autograd.grad((image() * weights).sum(), list(image.tables))
        runs.append(torch.cat([one.flatten() for one in found]))
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


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
        (Siren, {"frequency": 0.0}),
        (Siren, {"width": 0}),
        (HashGrid, {"entries": 0}),
        (HashGrid, {"coarsest": 1}),
    ],
)
def test_impossible_sizes_are_refused(kind, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)
