"""The four quadrants, as in the article's table."""

import pytest

from quadnet import quadrants


def test_each_sign_pattern_has_its_quadrant_and_colour():
    points = [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
    assert quadrants.label_quadrants(points).tolist() == ["I", "II", "III", "IV"]
    assert quadrants.CENTRES.tolist() == points
    assert [q.colour for q in quadrants.QUADRANTS] == ["purple", "green", "blue", "red"]


def test_points_next_to_an_axis_belong_to_their_own_side():
    tiny = 5e-324
    assert quadrants.label_quadrants([[tiny, -tiny], [-tiny, tiny]]).tolist() == ["IV", "II"]


@pytest.mark.parametrize("point", [[0.0, 0.3], [0.3, -0.0], [0, 0]])
def test_points_on_an_axis_belong_to_none(point):
    with pytest.raises(ValueError, match=r"Point 1, .*lies on an axis"):
        quadrants.label_quadrants([[0.1, 0.1], point])
