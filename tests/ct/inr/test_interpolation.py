import torch
from hypothesis import given
from hypothesis import strategies as st

from ct.inr.coordinates import pixel_coordinates
from ct.inr.interpolation import interpolate_at, interpolation_matrix


@given(
    nodes=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_two_matrices_equal_grid_sample(nodes, shape):
    generator = torch.Generator().manual_seed(0)
    plane = torch.randn(3, *nodes, dtype=torch.float64, generator=generator)
    rows = interpolation_matrix(nodes[0], shape[0])
    columns = interpolation_matrix(nodes[1], shape[1])
    points = pixel_coordinates(shape).reshape(-1, 2)
    gathered = interpolate_at(plane, points, shape).reshape(3, *shape)
    assert torch.allclose(rows @ plane @ columns.T, gathered, atol=1e-12)


@given(nodes=st.integers(2, 12), pixels=st.integers(1, 20))
def test_linear_functions_are_exact(nodes, pixels):
    matrix = interpolation_matrix(nodes, pixels)
    at_nodes = torch.linspace(-1, 1, nodes, dtype=torch.float64)
    centres = (2 * torch.arange(pixels, dtype=torch.float64) + 1) / pixels - 1
    assert torch.allclose(matrix @ at_nodes, centres, atol=1e-12)
    assert torch.allclose(matrix.sum(1), torch.ones(pixels, dtype=torch.float64))
    assert int((matrix > 0).sum(1).max()) <= 2
