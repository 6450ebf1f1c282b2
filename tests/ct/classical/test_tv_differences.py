from __future__ import annotations

import numpy as np
import pytest
import torch

from ct.classical.total_variation import anisotropic_tv, isotropic_tv
from ct.classical.tv_differences import (
    anisotropic,
    differences,
    differences_adjoint,
    isotropic,
    smallest_field,
)
from tests.reference.naive_total_variation import difference_matrix

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(3, 6, 5, dtype=torch.float64, generator=GENERATOR)
FIELDS = torch.randn(3, 2, 6, 5, dtype=torch.float64, generator=GENERATOR)
D = torch.from_numpy(difference_matrix(6, 5))


def test_differences_and_their_adjoint_are_the_matrix_and_its_transpose() -> None:
    torch.testing.assert_close(differences(IMAGES).flatten(1), IMAGES.flatten(1) @ D.T)
    torch.testing.assert_close(differences_adjoint(FIELDS).flatten(1), FIELDS.flatten(1) @ D)


def test_lengths_add_up_to_total_variation() -> None:
    field = differences(IMAGES)
    torch.testing.assert_close(anisotropic(field).sum((-3, -2, -1)), anisotropic_tv(IMAGES))
    torch.testing.assert_close(
        isotropic(field).sum((-3, -2, -1)), isotropic_tv(IMAGES, 1e-9), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("shape", [(6, 5), (1, 7), (7, 1), (8, 8)])
def test_smallest_field_is_the_pseudo_inverse(shape: tuple[int, int]) -> None:
    image = torch.randn(2, *shape, dtype=torch.float64, generator=GENERATOR)
    inverse = torch.from_numpy(np.linalg.pinv(difference_matrix(*shape).T))
    found = smallest_field(image)
    torch.testing.assert_close(found.flatten(1), image.flatten(1) @ inverse.T)
    torch.testing.assert_close(differences_adjoint(found), image - image.mean((1, 2), keepdim=True))


def test_one_pixel_has_an_empty_field() -> None:
    assert torch.equal(smallest_field(torch.ones(1, 1)), torch.zeros(2, 1, 1))
