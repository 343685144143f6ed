"""Augmentation against references written with NumPy, and batches that are a function of their address."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from PIL import Image

from datasets.augment import Augmentation, apply_mix, apply_window, draw_mix, draw_shifts, erase_outside, shrink, window
from datasets.batches import Batches, TrainingBatches
from datasets.catalog import load
from datasets.dataset import Split
from foundation.errors import UserError
from foundation.randomness import generator

pytestmark = pytest.mark.numeric


def batch(count=4, height=9, width=11, seed=0):
    return np.random.default_rng(seed).standard_normal((count, height, width, 3), "float32")


def apply(images, rows, columns):
    """Return the window, which is the same of arrays and of tensors."""
    found = [erase_outside(apply_window(each, rows, columns), rows, columns) for each in (images, ops.convert_to_tensor(images))]
    assert isinstance(found[0], np.ndarray)
    assert np.array_equal(found[0], ops.convert_to_numpy(found[1]))
    return found[0]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(8, 14),
    width=st.integers(8, 14),
    shift=st.integers(0, 7),
    is_mirrored=st.booleans(),
    padding=st.sampled_from(["zero", "reflect"]),
)
def test_a_window_is_a_crop_of_the_padded_image_perhaps_mirrored(seed, height, width, shift, is_mirrored, padding):
    images = batch(6, height, width)
    mirrored = None if is_mirrored else np.zeros((6, 1), bool)
    rows, columns = window(*draw_shifts(generator(seed, "test"), 6, shift, mirrored), height, width, padding)
    mode = {"mode": "constant"} if padding == "zero" else {"mode": "reflect"}
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), **mode)
    for n, found in enumerate(apply(images, rows, columns)):
        crops = [padded[n, y : y + height, x : x + width] for y in range(2 * shift + 1) for x in range(2 * shift + 1)]
        mirrored = [crop[:, ::-1] for crop in crops]
        assert any(np.array_equal(found, crop) for crop in (crops + mirrored if is_mirrored else crops))


def test_every_shift_and_both_directions_come_about_equally_often():
    rows, columns = window(*draw_shifts(generator(0, "test"), 20_000, 4, None), 32, 32, "zero")
    shifts = 31 - np.argmax(rows[:, ::-1] >= 0, axis=1)  # the last row that lies inside
    assert set(np.unique(rows[:, 0])) == {-1, 0, 1, 2, 3, 4}
    assert abs((rows[:, 0] == -1).mean() - 4 / 9) < 0.02
    assert abs((columns[:, 20] < columns[:, 21]).mean() - 0.5) < 0.02
    assert shifts.min() == 27


def test_alternating_an_image_is_mirrored_in_every_other_epoch(squares):
    ramp = np.linspace(250, 0, squares.image_shape[1])[:, None]  # bright on the left
    images = np.zeros((len(squares.train), *squares.image_shape), "uint8") + ramp.astype("uint8")
    lit = replace(squares, train=Split(images, squares.train.labels))
    batches = TrainingBatches(lit, 16, seed=0, augmentation=Augmentation(mirror="alternating"))
    seen = []
    for batches.epoch in range(4):
        order = np.concatenate([batches.indices(step) for step in range(len(batches))])
        images = np.concatenate([ops.convert_to_numpy(images) for images, _ in batches])
        middle = images.shape[2] // 2  # no shift puts the border there
        is_left = images[:, middle, middle - 1, 0] > images[:, middle, middle, 0]
        seen.append(is_left[np.argsort(order)])
    np.testing.assert_array_equal(seen[0], seen[2])
    np.testing.assert_array_equal(seen[1], seen[3])
    np.testing.assert_array_equal(seen[0], ~seen[1])
    assert 0.3 < seen[0].mean() < 0.7


@pytest.mark.parametrize(("size", "count"), [(8, 500), (64, 500), (256, 31), (2048, 1)])
def test_batches_for_measuring_have_so_many_pixels_at_most(squares, size, count):
    pixels = np.zeros((1, size, size, 3), "uint8")
    split = Split(pixels, np.zeros(1, "int64"))
    assert Batches(replace(squares, train=split), split).batch_size == count


def test_a_shift_beyond_the_image_is_refused(squares):
    with pytest.raises(UserError, match="max_shift is 12, allowed: below the images' height and width, 12x12"):
        TrainingBatches(squares, 16, seed=0, augmentation=Augmentation(max_shift=12))


def test_mixup_mixes_images_and_labels_by_one_share():
    images, labels = batch(), np.eye(4, dtype="float32")
    partner, share, mask = draw_mix(generator(0, "test"), 4, 9, 11, mixup_alpha=0.4, cutmix_alpha=0.0)
    assert mask is None and 0 <= share <= 1 and sorted(partner) == [0, 1, 2, 3]
    mixed, mixed_labels = apply_mix(ops.convert_to_tensor(images), labels, (partner, share, mask))
    np.testing.assert_allclose(ops.convert_to_numpy(mixed), share * images + (1 - share) * images[partner], atol=1e-6)
    np.testing.assert_allclose(mixed_labels, share * labels + (1 - share) * labels[partner], atol=1e-7)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31))
def test_cutmix_gives_labels_the_area_that_each_image_keeps(seed):
    images, labels = batch(), np.eye(4, dtype="float32")
    mix = draw_mix(generator(seed, "test"), 4, 9, 11, mixup_alpha=0.0, cutmix_alpha=1.0)
    partner, share, _ = mix
    mixed, mixed_labels = apply_mix(ops.convert_to_tensor(images), labels, mix)
    mixed = ops.convert_to_numpy(mixed)
    kept = np.isclose(mixed, images).all(-1).mean((1, 2))
    changed = partner != np.arange(4)
    np.testing.assert_allclose(kept[changed], share, atol=1e-6)
    np.testing.assert_allclose(mixed_labels.sum(1), 1, atol=1e-6)


def test_shares_of_mixup_follow_the_beta_distribution():
    shares = [draw_mix(generator(seed, "test"), 2, 8, 8, 0.2, 0.0)[1] for seed in range(3000)]
    assert abs(np.mean(shares) - 0.5) < 0.03
    assert abs(np.var(shares) - 0.25 / 1.4) < 0.01  # 1 / (4 (2 alpha + 1))


def test_with_both_mixes_on_each_batch_draws_one():
    kinds = [draw_mix(generator(seed, "test"), 2, 8, 8, 0.2, 1.0)[2] is None for seed in range(400)]
    assert 150 < sum(kinds) < 250


@pytest.fixture(scope="module")
def squares(image_folder, tmp_path_factory):
    return load(f"folder:{image_folder}", data_dir=tmp_path_factory.mktemp("cache"))


def labels_of(batches):
    return [labels for _, labels in (batches[i] for i in range(len(batches)))]


def test_an_epoch_holds_every_image_once_in_a_new_order(squares):
    batches = TrainingBatches(squares, 16, seed=3, augmentation=Augmentation(augment="none"))
    orders = []
    for epoch in (0, 1):
        batches.epoch = epoch
        images = np.concatenate([ops.convert_to_numpy(batches[i][0]) for i in range(len(batches))])
        assert sorted(image.tobytes() for image in images) == sorted(
            image.tobytes() for image in ops.convert_to_numpy(Batches(squares, squares.train, 81)[0][0])
        )
        orders.append([image.tobytes() for image in images])
    assert orders[0] != orders[1]


def test_a_batch_depends_on_seed_epoch_and_step_alone(squares):
    def images(seed, epoch, step, warm_up=()):
        batches = TrainingBatches(squares, 16, seed, Augmentation(mixup_alpha=0.4))
        for batches.epoch, i in warm_up:
            batches[i]
        batches.epoch = epoch
        return ops.convert_to_numpy(batches[step][0])

    wanted = images(0, 2, 1)
    assert np.array_equal(wanted, images(0, 2, 1, warm_up=[(0, 0), (7, 3), (2, 4)]))
    for other in (images(1, 2, 1), images(0, 3, 1), images(0, 2, 2)):
        assert not np.array_equal(wanted, other)


@pytest.mark.parametrize("is_small", [True, False], ids=["in memory", "from the file"])
@pytest.mark.parametrize(
    "options", [{}, {"augment": "none"}, {"padding": "reflect"}, {"mixup_alpha": 0.3}, {"start_size": 8, "growth_epochs": 2.0}]
)
def test_the_host_makes_the_batches_that_a_device_makes(squares, options, is_small, monkeypatch):
    monkeypatch.setattr("datasets.batches.RESIDENT", (1 << 30) * is_small)
    made = []
    for is_host in (True, False):
        monkeypatch.setattr("datasets.batches.is_host_the_device", lambda is_host=is_host: is_host)
        for batches in (TrainingBatches(squares, 16, 0, Augmentation(**options)), Batches(squares, squares.val)):
            made.append([[ops.convert_to_numpy(part) for part in batches[i]] for i in range(len(batches))])
    for host, device in zip(made[:2], made[2:], strict=True):
        for one, other in zip(host, device, strict=True):
            assert all(map(np.array_equal, one, other))


def test_a_resumed_epoch_goes_on_at_its_step(squares):
    whole, rest = (TrainingBatches(squares, 16, seed=0) for _ in range(2))
    rest.first_step = 4
    assert (len(whole), len(rest)) == (6, 2)
    for i in range(2):
        assert np.array_equal(ops.convert_to_numpy(whole[4 + i][0]), ops.convert_to_numpy(rest[i][0]))


def test_labels_are_smoothed_in_training_only(squares):
    smoothed = labels_of(TrainingBatches(squares, 16, 0, label_smoothing=0.3))[0]
    assert sorted(np.unique(smoothed.round(4))) == pytest.approx([0.1, 0.8])
    assert sorted(np.unique(labels_of(Batches(squares, squares.val, 4))[0])) == [0, 1]


def test_batches_are_normalised_by_the_statistics_of_train(squares):
    images, _ = Batches(squares, squares.train, 81)[0]
    expected = (squares.train.read() / 255.0 - squares.mean) / squares.std
    np.testing.assert_allclose(ops.convert_to_numpy(images), expected, atol=1e-5)
    assert abs(expected.mean()) < 1e-6 and abs(expected.std() - 1) < 0.01


def test_sizes_grow_by_four_pixels_at_even_intervals_to_the_full_one():
    def heights(start, full, growth_epochs, epochs):
        return [Augmentation(start_size=start, growth_epochs=growth_epochs).height_at(epoch, full) for epoch in range(epochs)]

    assert heights(16, 32, 8, 10) == [16, 16, 20, 20, 24, 24, 28, 28, 32, 32]
    assert heights(16, 30, 2, 3) == [16, 24, 30]
    assert heights(0, 24, 0, 2) == [24, 24]


@pytest.mark.parametrize("size", [16, 20, 28])
def test_images_shrink_as_pillow_shrinks_them(size):
    images = batch(3, 32, 32)
    small = ops.convert_to_numpy(shrink(ops.convert_to_tensor(images), size))
    for image, shrunk in zip(images, small, strict=True):
        for channel in range(3):
            wanted = Image.fromarray(image[..., channel]).resize((size, size), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(shrunk[..., channel], wanted, atol=1e-5)


def test_growing_batches_have_the_size_of_their_epoch(squares):
    growing = Augmentation(start_size=8, growth_epochs=1, mixup_alpha=0.4, cutmix_alpha=1.0)
    batches = TrainingBatches(squares, 16, seed=0, augmentation=growing)
    for batches.epoch, size in ((0, 8), (1, 12), (9, 12)):
        assert batches[0][0].shape == (16, size, size, 3)
    assert batches.spans_of_one_size(0, 5) == [(0, 1), (1, 5)]
    assert batches.spans_of_one_size(2, 3) == [(2, 3)] and batches.spans_of_one_size(3, 3) == []
    with pytest.raises(UserError, match="start_size is 16, allowed: at most the images' own size, 12"):
        TrainingBatches(squares, 16, seed=0, augmentation=Augmentation(start_size=16, growth_epochs=1))


POLICIES = """
import sys
import numpy as np
from keras import ops
from datasets.augment import Augmentation
from datasets.batches import TrainingBatches
from datasets.catalog import load

def first_batch(augment):
    batches = TrainingBatches(load(sys.argv[1], data_dir=sys.argv[2]), 16, seed=0, augmentation=Augmentation(augment=augment))
    first = ops.convert_to_numpy(batches[0][0])
    batches[1]
    assert first.shape == (16, 12, 12, 3) and np.array_equal(first, ops.convert_to_numpy(batches[0][0]))
    return first

first_batch("saturation")
assert not np.array_equal(first_batch("cutout"), first_batch("none"))
"""


def test_a_policy_of_keras_cv_is_a_function_of_its_address(image_folder, tmp_path):
    process = run_python("-c", POLICIES, f"folder:{image_folder}", tmp_path)  # keras-cv imports TensorFlow, 0.4 GB
    assert process.returncode == 0, process.stderr
