"""The drawn data set: known places, classes that are shape and texture, the same pixels every time."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.catalog import load
from datasets.shapes import SHAPES, TEXTURES, class_names, draw
from foundation.errors import UserError


@settings(max_examples=60)
@given(number=st.integers(0, 10**6), size=st.integers(32, 96), is_varied=st.booleans())
def test_box_and_mask_cover_at_most_a_fifth_and_belong_together(number, size, is_varied):
    scene = draw("train", number, 25, size, is_varied)
    assert scene.image.shape == (size, size, 3) and scene.mask.shape == (size, size)
    left, top, right, bottom = scene.box
    assert 0 <= left < right <= size and 0 <= top < bottom <= size
    assert 0.01 < (scene.mask > 0.5).mean() <= (right - left) * (bottom - top) / size**2 <= 0.2
    assert scene.mask.mean() <= 0.2
    outside = scene.mask.copy()
    outside[top:bottom, left:right] = 0
    assert outside.max() <= 0.5  # at most the softened edge of the object


def test_the_areas_of_the_shapes_are_those_of_geometry():
    side = (np.arange(800) + 0.5) / 400 - 1
    x, y = np.meshgrid(side, side)
    star = 5 * np.sin(np.pi / 5) * np.sin(np.pi / 10) / np.sin(7 * np.pi / 10)  # of the ten triangles around the centre
    short, long = np.sqrt(1 - 0.95**2), 0.95
    areas = {
        "disc": np.pi,
        "triangle": 3 * np.sqrt(3) / 4,
        "square": 2,
        "star": star,
        "cross": 8 * short * long - 4 * short**2,
    }
    for name, inside in SHAPES.items():
        assert (inside(x, y) < 0).mean() * 4 == pytest.approx(areas[name], rel=0.01), name


def test_every_shape_comes_with_every_texture_and_neighbours_share_neither():
    names = class_names()
    assert len(set(names)) == len(SHAPES) * len(TEXTURES) == 25
    for first, second in pairwise(names):
        if names.index(second) % 5:
            assert not set(first.split()) & set(second.split())


def test_object_and_ground_differ_and_noise_is_little():
    """What lies under the mask is not the ground: its colours are others in nearly every image."""
    gaps = []
    for number in range(100):
        scene = draw("test", number)
        inside, outside = scene.image[scene.mask > 0.9], scene.image[scene.mask == 0]
        gaps.append(np.abs(inside.mean(0) - outside.mean(0)).max())
    assert np.mean(np.array(gaps) > 10) > 0.9


def test_colour_does_not_tell_the_class():
    """The mean colour of a class's images is that of all: no class is further off than chance would bring it."""
    means = np.array([[draw("train", 25 * i + label).image.mean((0, 1)) for i in range(60)] for label in range(5)])
    errors = means.std((0, 1)) / np.sqrt(60)
    assert (np.abs(means.mean(1) - means.mean((0, 1))) < 4 * errors).all()


def test_the_set_is_the_same_for_every_seed_and_kept(in_folder):
    first = load("shapes:2", image_size=16)
    assert [len(split) for split in (first.train, first.val, first.test)] == [432, 48, 80]
    assert first.class_names == ("striped disc", "checked triangle") and first.image_shape == (16, 16, 3)
    for i in (0, 7):
        assert np.array_equal(first.test.read()[i], draw("test", i, 2, 16).image)
        assert first.test.labels[i] == draw("test", i, 2, 16).label
    kept = next((in_folder / "data" / "decoded").glob("shapes2-test-16-*/images.bin")).stat().st_mtime_ns
    again = load("shapes:2", image_size=16, seed=5)
    assert np.array_equal(first.test.read(), again.test.read())
    assert next((in_folder / "data" / "decoded").glob("shapes2-test-16-*/images.bin")).stat().st_mtime_ns == kept


def test_the_smallest_varied_images_have_a_box_too():
    for number in range(500):
        left, top, right, bottom = draw("train", number, 25, 8, is_varied=True).box
        assert 0 <= left < right <= 8 and 0 <= top < bottom <= 8


def test_varied_images_are_drawn_at_many_resolutions():
    """An image drawn at half its size is smooth, one drawn at twice has its noise averaged away: sharpness varies more."""

    def sharpness(is_varied):
        images = (draw("train", i, 25, 48, is_varied).image.astype(float) for i in range(80))
        return np.array([np.abs(np.diff(image, 2, axis=0)).mean() for image in images])

    assert sharpness(True).mean() < 0.9 * sharpness(False).mean()


@pytest.mark.parametrize("argument", ["1", "26", "ten", "10-wild", "../x", "²"])
def test_what_can_not_be_drawn_is_one_line(argument):
    with pytest.raises(UserError, match="allowed: shapes"):
        load(f"shapes:{argument}")
