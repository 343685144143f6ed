"""Arms paired image by image: McNemar's test and the standard error over images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from foundation.errors import UserError
from lab.reports.comparisons import Comparison
from lab.reports.image_sampling import compare_images, image_blocks, mcnemar_p
from lab.runs.predictions import CORRECTNESS, Correctness, Predictions, correctness_of
from lab.runs.run import Run


@given(one=st.integers(0, 200), other=st.integers(0, 200))
def test_mcnemars_p_is_that_of_statsmodels(one, other):
    assert mcnemar_p(one, other) == pytest.approx(mcnemar([[9, one], [other, 9]], exact=True).pvalue)


def drawn(seed, share, images="the test images", count=2000):
    """Right answers that come by a share of the images, the same hard images in all."""
    hardness = np.random.default_rng(0).random(count)
    return Correctness(images, hardness + 0.1 * np.random.default_rng(seed).standard_normal(count) < share)


def test_the_standard_error_over_images_is_that_of_other_images():
    """Against a bootstrap of the images, the trained networks staying as they are."""
    runs = {
        (arm, seed): drawn(10 * seed + i, share) for i, (arm, share) in enumerate((("a", 0.8), ("b", 0.7))) for seed in range(3)
    }
    found = compare_images(Comparison("a", "b", (1.0, 2.0, 3.0)), runs)
    gap = np.mean([runs["a", s].is_right.astype(int) - runs["b", s].is_right for s in range(3)], axis=0)
    random = np.random.default_rng(1)
    means = [100 * random.choice(gap, len(gap)).mean() for _ in range(2000)]
    assert found.error == pytest.approx(np.std(means), rel=0.08)
    accuracies = [[100 * runs[arm, s].is_right.mean() for s in range(3)] for arm in "ab"]
    assert found.seed_error == pytest.approx(np.std(np.subtract(*accuracies), ddof=1) / 3**0.5)
    for s in range(3):
        first, other = runs["a", s].is_right, runs["b", s].is_right
        assert (found.only_first[s], found.only_other[s]) == ((first & ~other).sum(), (other & ~first).sum())


def test_seeds_that_draw_other_test_images_tell_more_than_seeds_that_share_them():
    shared = {(arm, s): drawn(0, share) for arm, share in (("a", 0.8), ("b", 0.7)) for s in range(4)}
    apart = {(arm, s): Correctness(f"images {s}", found.is_right) for (arm, s), found in shared.items()}
    one, four = (compare_images(Comparison("a", "b", (1.0,) * 4), runs) for runs in (shared, apart))
    assert four.error == pytest.approx(one.error / 2)


def test_arms_on_other_images_and_seeds_without_predictions_are_not_paired():
    runs = {("a", 0): drawn(0, 0.8), ("b", 0): drawn(1, 0.7, "other images"), ("a", 1): drawn(2, 0.8), ("b", 1): None}
    assert compare_images(Comparison("a", "b", (1.0, 2.0)), runs) is None
    assert list(image_blocks([])) == []


def test_which_images_are_right_does_not_depend_on_their_order():
    random = np.random.default_rng(0)
    logits, labels = random.standard_normal((9, 3)).astype("float32"), random.integers(0, 3, 9)
    names = tuple(f"{i}.png" for i in range(9))
    order = random.permutation(9)
    one = Predictions(logits, labels, names).correctness()
    other = Predictions(logits[order], labels[order], tuple(names[i] for i in order)).correctness()
    assert one.images == other.images and np.array_equal(one.is_right, other.is_right)
    assert Predictions(logits, (labels + 1) % 3, names).correctness().images != one.images


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_record_of_right_images_is_read_as_it_was_written(right):
    found = Correctness.of_record(Correctness("ab", np.array(right)).record())
    assert found.images == "ab" and found.is_right.tolist() == right


@pytest.mark.parametrize(
    "change", [{"count": 10**12}, {"count": 0}, {"bits": "?"}, {"bits": None}, {"images": 3}, {"count": 2.0}]
)
def test_a_damaged_record_of_right_images_is_one_line(tmp_path, change):
    run = Run("r", tmp_path, tmp_path)
    run.output.mkdir()
    assert correctness_of(run) is None
    run.write_json(CORRECTNESS, Correctness("ab", np.ones(9, bool)).record() | change)
    with pytest.raises(UserError, match=r"correct\.json is damaged"):
        correctness_of(run)
