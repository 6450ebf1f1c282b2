"""The published network: autograd beside the gradient written out, and beside the GPU's kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ct.inr.counter_masks import draw_keys, keep_mask
from ct.inr.dropout_layers import DropoutLayers, Plain, padded_inputs, unit_counters
from ct.inr.pixel_dropout import PixelDropoutImage, PixelDropoutNetwork

ROOT = Path(__file__).parents[3]
SHAPE = (9, 14)


def _network(shape: tuple[int, int] = SHAPE, width: int = 19) -> PixelDropoutImage:
    network = PixelDropoutNetwork(
        n_frequencies=9, frequency_std=5.0, width=width, depth=3, dropout=0.3
    )
    return network.build(shape, generator=torch.Generator().manual_seed(0))


def _keys(seed: int = 0) -> torch.Tensor:
    return draw_keys(3, generator=torch.Generator().manual_seed(seed))


def _weighted(image: torch.Tensor) -> torch.Tensor:
    weights = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    return (image * weights.to(image)).sum()


def _gradients(network: PixelDropoutImage, keys: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(_weighted(network(keys)), list(network.parameters())))


def test_the_image_is_the_formula_with_masks_of_each_pixel() -> None:
    network, keys = _network().double(), _keys()
    hidden = network.encoding(network.get_buffer("pixels"))
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        if layer > 0:
            hidden = hidden * torch.sigmoid(hidden)
            kept = keep_mask(keys[layer - 1], unit_counters(0, 126, 19, device=hidden.device), 0.3)
            assert not torch.equal(kept[0], kept[1])
            hidden = torch.where(kept, hidden / 0.7, 0.0)
        hidden = hidden @ weight.T + bias
    assert torch.allclose(network(keys), torch.sigmoid(hidden[:, 0]).reshape(SHAPE), atol=1e-12)


def test_masks_keep_the_mean_and_depend_on_the_key_alone() -> None:
    network = _network().double()
    with torch.no_grad():
        draws = torch.stack([network(_keys(seed)) for seed in range(50)])
        assert torch.equal(draws[3], network(_keys(3)))
    assert bool((draws.std(0) > 0).all())


def test_pieces_change_nothing() -> None:
    network, keys = _network().double(), _keys()
    whole, gradients = network(keys), _gradients(network, keys)
    network.pixels_at_once = 40
    assert torch.allclose(network(keys), whole, atol=1e-14)
    for one, other in zip(_gradients(network, keys), gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("width", [15, 16, 19])
def test_the_gradient_written_out_is_autograds(width: int) -> None:
    network, keys = _network(width=width).double(), _keys()
    layers = DropoutLayers(width=width, rate=0.3, operands=torch.float64, elementwise=Plain())
    inputs = padded_inputs(network._features(range(126)), torch.float64)
    outputs = layers(inputs, keys, list(network.weights), list(network.biases))
    image = torch.sigmoid(outputs[:126]).reshape(SHAPE)
    assert torch.allclose(image, network(keys), atol=1e-13)
    found = torch.autograd.grad(_weighted(image), list(network.parameters()))
    for one, other in zip(found, _gradients(network, keys), strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_kernels_equal_plain_operations_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="Triton has wheels for Linux only")
    run = subprocess.run(
        [sys.executable, "-m", "tests.ct.inr.interpreted_dropout"],
        cwd=ROOT, env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


def test_pieces_of_the_layers_have_the_masks_of_their_pixels() -> None:
    network, keys = _network().double(), _keys()
    layers = DropoutLayers(width=19, rate=0.3, operands=torch.float64, elementwise=Plain())
    with torch.no_grad():
        whole = network._piece(layers, keys, range(126))
        assert torch.equal(network._piece(None, keys, range(126)).sign(), whole.sign())
        part = network._piece(layers, keys, range(50, 90))
    assert torch.allclose(part, whole[50:90], atol=1e-13)


@pytest.mark.gpu
def test_pieces_on_a_gpu_change_nothing_but_rounding() -> None:
    network, keys = _network((40, 50)).cuda(), _keys().cuda()
    whole, gradients = network(keys).detach(), _gradients(network, keys)
    network.pixels_at_once = 700
    assert torch.allclose(network(keys).detach(), whole, atol=1e-5)
    for one, other in zip(_gradients(network, keys), gradients, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-2


@pytest.mark.gpu
def test_half_precision_gradients_are_those_of_full_precision() -> None:
    network = PixelDropoutNetwork(
        n_frequencies=363, frequency_std=40.0, width=280, depth=6, dropout=0.2
    ).build((96, 80), generator=torch.Generator().manual_seed(0))
    keys = draw_keys(6, generator=torch.Generator().manual_seed(0)).cuda()
    full = network.double().cuda()
    image, gradients = full(keys), _gradients(full, keys)
    half = network.float()
    assert half.arithmetic == "bfloat16 factors"
    assert float((half(keys) - image).detach().norm() / image.detach().norm()) < 5e-3
    for one, other in zip(_gradients(half, keys), gradients, strict=True):
        assert float((one - other).norm() / other.norm()) < 3e-2
    for one, other in zip(_gradients(half, keys), _gradients(half, keys), strict=True):
        assert torch.equal(one, other)


def test_the_initial_image_is_grey_and_the_published_network_has_the_published_size() -> None:
    network = PixelDropoutNetwork(
        n_frequencies=363, frequency_std=40.0, width=280, depth=6, dropout=0.2
    ).build((4, 4), generator=torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in network.parameters()) == 597_241
    with torch.no_grad():
        image = network(torch.zeros(6, 2, dtype=torch.int32))
    assert bool(((image > 0.4) & (image < 0.6)).all())


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"depth": 0}, {"n_frequencies": 0}, {"dropout": 1.0}]
)
def test_impossible_sizes_are_refused(wrong: dict[str, float]) -> None:
    sizes = {"n_frequencies": 9, "frequency_std": 5.0, "width": 4, "depth": 1, "dropout": 0.2}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PixelDropoutNetwork(**sizes | wrong)
