from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from ct.classical.total_variation import anisotropic_tv, isotropic_tv

IMAGES = torch.randn(2, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_anisotropic_counts_every_pair_once() -> None:
    image = IMAGES[0, 0]
    pairs = [(image[i, j], image[i + 1, j]) for i in range(5) for j in range(5)]
    pairs += [(image[i, j], image[i, j + 1]) for i in range(6) for j in range(4)]
    assert float(anisotropic_tv(image)) == pytest.approx(sum(float(abs(a - b)) for a, b in pairs))


def test_box_costs_its_height_times_its_boundary() -> None:
    box = torch.zeros(9, 9, dtype=torch.float64)
    box[2:5, 3:7] = 2.5
    assert float(anisotropic_tv(box)) == pytest.approx(2.5 * 2 * (3 + 4))
    # isotropic: the one corner where both differences stand at one pixel costs √2 for 2
    assert float(isotropic_tv(box)) == pytest.approx(2.5 * (14 - 2 + math.sqrt(2)), abs=1e-4)


def test_ramp_costs_its_slope_times_its_area() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(7.0), indexing="ij")
    plane = (3 * rows + 4 * columns).double()
    # 7 × 6 pixels have both neighbours; the last row and the last column have one
    assert float(isotropic_tv(plane)) == pytest.approx(5 * 42 + 4 * 6 + 3 * 7, abs=1e-4)
    assert float(anisotropic_tv(plane)) == pytest.approx(3 * 7 * 7 + 4 * 8 * 6)


def test_isotropic_lies_between_norms_of_the_differences() -> None:
    anisotropic, isotropic = anisotropic_tv(IMAGES), isotropic_tv(IMAGES)
    assert bool((isotropic <= anisotropic).all())
    assert bool((isotropic >= anisotropic / math.sqrt(2) - 1e-4).all())


@pytest.mark.parametrize("penalty", [anisotropic_tv, isotropic_tv])
def test_laws_of_both(penalty: Callable[[Tensor], Tensor]) -> None:
    values = penalty(IMAGES)
    assert values.shape == (2, 3)
    torch.testing.assert_close(values[1, 2], penalty(IMAGES[1, 2]))
    torch.testing.assert_close(penalty(IMAGES + 7), values)
    torch.testing.assert_close(penalty(-3 * IMAGES), 3 * values, rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(penalty(IMAGES.mT), values)
    assert gradcheck(penalty, (IMAGES.clone().requires_grad_(),))


@pytest.mark.parametrize("penalty", [anisotropic_tv, isotropic_tv])
def test_flat_images_cost_nothing_and_have_no_gradient(penalty: Callable[[Tensor], Tensor]) -> None:
    flat = torch.full((4, 4), 0.3, requires_grad=True)
    value = penalty(flat)
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-9)
    assert flat.grad is not None
    assert torch.equal(flat.grad, torch.zeros(4, 4))


def test_one_pixel_has_no_variation() -> None:
    assert float(anisotropic_tv(torch.ones(1, 1))) == 0
    assert float(isotropic_tv(torch.ones(1, 1))) == 0


@pytest.mark.parametrize("smoothing", [0.0, -1.0, math.nan])
def test_smoothing_must_be_positive(smoothing: float) -> None:
    with pytest.raises(ValueError, match="smoothing"):
        isotropic_tv(IMAGES, smoothing)
