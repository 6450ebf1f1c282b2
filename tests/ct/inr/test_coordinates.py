import torch
from hypothesis import given
from hypothesis import strategies as st

from ct.geometry import ImageGrid
from ct.inr.coordinates import half_extent, pixel_coordinates

SIDES = st.integers(1, 9)


@given(rows=SIDES, columns=SIDES)
def test_coordinates_are_the_grid_positions_over_half_the_longer_side(rows, columns):
    grid = ImageGrid((rows, columns), pixel_size=0.7)
    points = pixel_coordinates((rows, columns))
    half = max(rows, columns) * 0.7 / 2
    assert torch.allclose(points[..., 0], (grid.x_positions / half).expand(rows, columns))
    assert torch.allclose(points[..., 1], (grid.y_positions / half)[:, None].expand(rows, columns))


@given(rows=SIDES, columns=SIDES)
def test_pixels_fill_the_extent_from_edge_to_edge(rows, columns):
    points = pixel_coordinates((rows, columns))
    width, height = half_extent((rows, columns))
    pixel = 1 / max(rows, columns)
    assert torch.isclose(points[..., 0].max(), torch.tensor(width - pixel, dtype=torch.float64))
    assert torch.isclose(points[0, 0, 1], torch.tensor(height - pixel, dtype=torch.float64))
    assert max(width, height) == 1
