"""What is measured of maps: exact on maps made for it, and equal to independent references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from datasets.catalog import load
from datasets.shapes import draw
from lab.explanations import quality
from lab.explanations.analysis import border_share, compare, spread
from lab.reports.statistics import unpaired_difference


def spots(places, side=8):
    """Maps with a single bright cell each."""
    maps = np.zeros((len(places), side, side), "float32")
    for m, (row, column) in zip(maps, places, strict=True):
        m[row, column] = 1
    return maps


def test_pointing_finds_the_box_and_only_the_box():
    boxes = np.array([[4, 2, 8, 6]] * 5)  # left, top, right, bottom
    maps = spots([(2, 4), (5, 7), (6, 4), (2, 8), (0, 0)], 16)
    maps[4] = 0  # points nowhere, not at the corner
    assert quality.pointing_game(maps, boxes).tolist() == [True, True, False, False, False]
    assert not quality.pointing_game(maps[4:], np.array([[0, 0, 8, 8]]))[0]


def test_energy_is_all_inside_a_box_that_holds_the_map_and_its_area_for_an_even_map():
    boxes = np.array([[0, 0, 8, 4], [0, 0, 2, 8]])
    assert quality.energy_inside(np.ones((2, 8, 8)), boxes) == pytest.approx(quality.box_shares(boxes, 8))
    assert quality.energy_inside(spots([(1, 4), (4, 6)]), boxes) == pytest.approx([1, 0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), side=st.sampled_from([4, 7, 8, 16]))
def test_likeness_is_spearmans_rank_correlation(seed, side):
    random = np.random.default_rng(seed)
    maps, others = random.integers(0, 5, (2, 3, side, side)).astype(float)  # with ties
    wanted = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps, others, strict=True)]
    assert quality.likeness(maps, others) == pytest.approx(wanted, abs=1e-9)
    assert quality.likeness(maps, np.ones_like(maps)).tolist() == [0, 0, 0]


def test_border_and_spread_of_maps_that_are_known():
    even = np.ones((1, 16, 16))
    assert border_share(even)[0] == pytest.approx(1 - 0.75**2)
    assert border_share(np.ones((1, 7, 5)))[0] == pytest.approx(1 - 0.75**2)
    assert border_share(spots([(0, 3), (3, 4), (7, 7)])) == pytest.approx([1, 0, 1])
    assert spread(np.ones((1, 256, 256)))[0] == pytest.approx(np.sqrt(2 / 12), rel=1e-4)
    assert spread(spots([(2, 5)]))[0] == pytest.approx(0, abs=1e-9)
    corners = spots([(0, 0)]) + spots([(7, 7)])
    assert spread(corners)[0] == pytest.approx(np.sqrt(2) * 7 / 16)


def test_an_unpaired_difference_is_welchs():
    random = np.random.default_rng(0)
    one, other = random.normal(1, 2, 12), random.normal(0, 1, 30)
    found = unpaired_difference(one, other)
    a, b = one.var(ddof=1) / 12, other.var(ddof=1) / 30
    freedom = (a + b) ** 2 / (a**2 / 11 + b**2 / 29)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(a + b)
    assert found.mean == pytest.approx(one.mean() - other.mean()) and found.count == 42
    assert found.interval == pytest.approx((found.mean - half, found.mean + half))
    assert unpaired_difference(one, []) is None and unpaired_difference(one, [1.0]).interval is None
    alike = unpaired_difference([0.5, 0.5], [1.5, 1.5, 1.5])
    assert alike.mean == -1.0 and alike.interval is None


def test_a_comparison_sees_a_difference_that_is_there_and_none_that_is_not():
    random = np.random.default_rng(0)
    middle, border = spots([(4, 4)] * 20), spots([(0, 4)] * 20)
    noise = 0.01 * random.random((40, 8, 8))
    is_right = np.arange(40) < 20
    border_of, _ = compare(np.concatenate([middle, border]) + noise, is_right)
    assert border_of.difference.mean < -0.5 and "smaller where the answer is right" in border_of.sentence()
    assert border_of.even == pytest.approx(1 - 0.75**2)
    same = compare(random.random((40, 8, 8)), is_right)
    assert all("can't be told apart" in comparison.sentence() for comparison in same)
    assert "too few" in compare(middle, np.ones(20, bool))[0].sentence()
    maps = np.concatenate([middle, np.zeros((1, 8, 8))])  # one without evidence is left out
    assert compare(maps, np.ones(21, bool))[0].right.count == 20


def test_boxes_of_a_split_are_those_of_its_images(in_folder):
    """Also of val, whose images are some of train's, in another order."""
    dataset = load("shapes:2", image_size=32, val_fraction=0.2, seed=4)
    for split, drawn in ((dataset.val, "train"), (dataset.test, "test")):
        boxes = split.boxes(np.array([3, 0]))
        for box, image in zip(boxes, split.read(np.array([3, 0])), strict=True):
            scenes = (draw(drawn, i, 2, 32) for i in range(480))
            scene = next(scene for scene in scenes if np.array_equal(scene.image, image))
            assert tuple(box) == scene.box
    assert load("digits").val.boxes(np.array([0])) is None
