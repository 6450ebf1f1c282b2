import pytest

from ct.half_width import LEVELS
from ct.reliability import _draw, save_reliability


def test_the_diagram_is_drawn_for_one_slice_and_for_many(tmp_path):
    curve = {f"{level:g}": level**1.1 for level in LEVELS}
    for curves in ([curve], [curve, None, curve]):
        path = tmp_path / f"{len(curves)}.png"
        save_reliability(path, {"held_out_coverage": curves, "calibration": "held-out views"})
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("metadata", [{}, {"held_out_coverage": [None]}])
def test_without_held_out_rays_there_is_no_diagram(tmp_path, metadata):
    with pytest.raises(ValueError, match="no ray was held out"):
        save_reliability(tmp_path / "none.png", metadata)
    assert not list(tmp_path.iterdir())


def test_the_picture_needs_a_format(tmp_path):
    metadata = {"held_out_coverage": [{"0.5": 0.5}]}
    with pytest.raises(ValueError, match="expected a picture's name"):
        save_reliability(tmp_path / "diagram.txt", metadata)


def test_the_diagram_shows_what_is_covered_over_what_is_claimed():
    diagonal, curve = _draw([{"0.5": 0.4, "0.9": 0.95, "0.05": 0.1}], "").axes[0].lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert curve.get_xydata().tolist() == [[0, 0], [0.05, 0.1], [0.5, 0.4], [0.9, 0.95]]
