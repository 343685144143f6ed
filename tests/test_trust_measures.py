"""Worth of answers, against independent references: temperature, thresholds, foreign pictures, corruptions."""

import colorsys
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score

from foundation.errors import UserError
from foundation.probabilities import softmax
from foundation.settings import Config
from lab.reports.calibration import calibrate
from lab.runs.reliance import temperature_of, threshold_of
from lab.runs.run import Run
from lab.trust.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from lab.trust.selective import answers_above, curve_of, threshold_for, threshold_interval
from lab.trust.temperature import fit_temperature
from lab.trust.unlike import area_of, images_unlike, sets_for

pytestmark = pytest.mark.numeric


def answered(temperature, count=3000, classes=5, seed=0):
    """Logits that are too sure by a factor, and labels drawn from what the logits ought to say."""
    random = np.random.default_rng(seed)
    fair = random.normal(0.0, 2.0, (count, classes))
    labels = (softmax(fair).cumsum(1) < random.random((count, 1))).sum(1)
    return (fair * temperature).astype("float32"), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_temperature_is_found_again_and_calibrates(temperature):
    logits, labels = answered(temperature)
    found = fit_temperature(logits, labels)
    grid = np.arange(0.3, 4.0, 0.005)
    losses = [-np.log(softmax(logits / value)[np.arange(len(labels)), labels]).mean() for value in grid]
    assert abs(found.value - grid[int(np.argmin(losses))]) <= 0.005
    assert found.interval[0] <= temperature <= found.interval[1] and found.note == ""
    if temperature != 1.0:
        assert calibrate(logits / found.value, labels).error < 0.5 * calibrate(logits, labels).error


def test_a_network_that_is_never_wrong_on_val_keeps_its_confidence():
    logits = 3.0 * np.eye(4, dtype="float32")
    found = fit_temperature(logits, np.arange(4))
    assert (found.value, found.interval) == (1.0, None) and "no wrong answer" in found.note


few = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40)


@settings(max_examples=100)
@given(few)
def test_accuracy_against_the_share_answered_is_that_of_a_loop(pairs):
    confidence, is_right = np.array([value / 10 for value, _ in pairs]), np.array([right for _, right in pairs])
    curve = curve_of(confidence, is_right)
    assert curve.thresholds.tolist() == sorted(set(confidence.tolist()), reverse=True)
    for threshold, share, accuracy in zip(curve.thresholds, curve.answered, curve.accuracy, strict=True):
        kept = confidence >= threshold
        assert share == pytest.approx(kept.mean()) and accuracy == pytest.approx(is_right[kept].mean())
    assert curve.accuracy_at(1.0) == pytest.approx(is_right.mean())
    assert 0 <= curve.area <= 1


@settings(max_examples=100)
@given(few, st.sampled_from([0.0, 0.1, 0.5]))
def test_the_threshold_is_the_lowest_with_so_few_errors(pairs, error):
    confidence, is_right = np.array([value / 10 for value, _ in pairs]), np.array([right for _, right in pairs])
    found = threshold_for(confidence, is_right, error)
    errors = {t: 1 - is_right[confidence >= t].mean() for t in set(confidence.tolist())}
    allowed = [t for t, wrong in errors.items() if wrong <= error + 1e-9]
    assert found == (min(allowed) if allowed else None)


def test_the_interval_of_a_threshold_holds_it_and_answers_above_it_are_counted():
    random = np.random.default_rng(0)
    confidence = random.random(2000)
    is_right = random.random(2000) < 0.9 + 0.1 * confidence
    threshold = threshold_for(confidence, is_right, 0.02)
    low, high = threshold_interval(confidence, is_right, 0.02)
    assert low <= threshold <= high and 0 < high - low < 0.9
    found = answers_above(confidence, is_right, threshold)
    kept = confidence >= threshold
    assert found["answered"] == kept.mean() and found["error"] == pytest.approx(1 - is_right[kept].mean())
    assert found["error_interval"][0] <= found["error"] <= found["error_interval"][1]
    assert "error" not in answers_above(confidence, is_right, 1.1)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.lists(st.integers(0, 6), min_size=2, max_size=30))
def test_the_area_is_that_of_scikit_learn_and_its_interval_delongs(known, unlike):
    found = area_of(np.array(known, float), np.array(unlike, float))
    labels = [1] * len(known) + [0] * len(unlike)
    assert found.value == pytest.approx(roc_auc_score(labels, known + unlike))
    wins = np.array([[(a > b) + 0.5 * (a == b) for b in unlike] for a in known])
    error = np.sqrt(wins.mean(1).var(ddof=1) / len(known) + wins.mean(0).var(ddof=1) / len(unlike))
    ends = np.clip([found.value - 1.96 * error, found.value + 1.96 * error], 0, 1)
    assert found.interval == pytest.approx(ends.tolist())


def test_foreign_pictures_have_the_size_and_channels_of_the_runs_own():
    for channels in (1, 3):
        for name in ("digits", "shapes"):
            images = images_unlike(name, Config(), (16, 16, channels))
            assert images.shape[1:] == (16, 16, channels) and images.dtype == np.uint8 and len(np.unique(images[:5], axis=0)) == 5
    assert sets_for(Config(dataset="digits:0-4"), []) == ["shapes"] and sets_for(Config(dataset="folder:x"), []) == [
        "shapes",
        "digits",
    ]
    with pytest.raises(UserError, match="--unlike digits:5-9 is the run's own data set"):
        sets_for(Config(dataset="digits:0-4"), ["digits:5-9"])


def photograph(side, channels=3, count=2):
    """Smooth images with edges."""
    random = np.random.default_rng(side)
    coarse = random.integers(0, 256, (count, 6, 6, channels), "uint8")
    images = [Image.fromarray(image.squeeze()).resize((side, side), Image.Resampling.BICUBIC) for image in coarse]
    return np.stack([np.asarray(image).reshape(side, side, channels) for image in images])


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corruption_changes_images_of_any_size_the_same_way_each_time(kind):
    for side, channels in ((8, 3), (32, 1), (57, 3), (224, 3)):
        images = photograph(side, channels)
        changes = []
        for strength in STRENGTHS:
            found = corrupt(images, kind, strength)
            assert found.shape == images.shape and found.dtype == np.uint8
            assert np.array_equal(found, corrupt(images, kind, strength))
            changes.append(np.abs(found.astype(int) - images).mean())
        assert changes[-1] > 0
        if kind not in ("elastic warp", "fog") and side >= 32:  # whose strengths differ in kind
            assert changes == sorted(changes), changes


def test_there_are_twelve_corruptions_at_three_strengths():
    assert len(CORRUPTIONS) == 12 and STRENGTHS == (1, 3, 5)


@pytest.mark.parametrize("kind", ["defocus blur", "motion blur", "zoom blur", "elastic warp", "pixelate", "jpeg"])
def test_an_even_image_stays_even(kind):
    images = np.full((1, 40, 40, 3), 77, "uint8")
    assert np.abs(corrupt(images, kind, 5).astype(int) - 77).max() <= 1


def test_corruptions_are_those_of_the_formulas_and_of_pillow():
    """At 32 pixels the numbers are those of CIFAR-10-C, at 224 those of ImageNet-C."""
    for side, contrast, raised, share, quality, noise in ((32, 0.4, 0.15, 0.85, 58, 0.04), (224, 0.2, 0.3, 0.4, 15, 0.08)):
        images = photograph(side, count=1)
        pixels = images / 255.0
        wanted = pixels.mean((1, 2), keepdims=True) * (1 - contrast) + contrast * pixels
        assert np.abs(corrupt(images, "contrast", 3) - 255 * wanted).max() <= 0.51
        h, s, v = colorsys.rgb_to_hsv(*pixels[0, 3, 5])
        wanted = colorsys.hsv_to_rgb(h, s, min(v + raised, 1.0))
        assert np.abs(corrupt(images, "brightness", 3)[0, 3, 5] - 255 * np.array(wanted)).max() <= 0.51
        image, small = Image.fromarray(images[0]), int(side * share)
        wanted = image.resize((small, small), Image.Resampling.BOX).resize((side, side), Image.Resampling.BOX)
        assert np.array_equal(corrupt(images, "pixelate", 3)[0], np.asarray(wanted))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        assert np.array_equal(corrupt(images, "jpeg", 3)[0], np.asarray(Image.open(file)))
        grey = np.full((4, side, side, 3), 128, "uint8")
        deviation = (corrupt(grey, "gaussian noise", 1) / 255.0).std()
        assert deviation == pytest.approx(noise, rel=5 / np.sqrt(2 * grey.size))  # five deviations of a sample's deviation


def test_motion_smears_a_point_along_a_line():
    images = np.zeros((1, 65, 65, 1), "uint8")
    images[0, 32, 32] = 255
    rows, columns = np.nonzero(corrupt(images, "motion blur", 5)[0, :, :, 0])
    assert len(np.unique(columns)) > 4 and columns.max() == 32  # the picture moves to the left, up or down by at most as much
    assert np.ptp(rows) <= np.ptp(columns)


@pytest.fixture
def run(tmp_path):
    run = Run("r", tmp_path / "output", tmp_path / "weights")
    run.output.mkdir(parents=True)
    return run


def test_a_run_that_was_never_asked_has_temperature_one_and_no_threshold(run):
    assert temperature_of(run) == 1.0
    with pytest.raises(UserError, match=r"no trust\.json: `python evaluate\.py r --trust` writes it"):
        threshold_of(run)


@pytest.mark.parametrize("value", [0, -1, "1", True, 1e9, None, [1.0]])
def test_a_temperature_that_no_run_writes_is_one_line(run, value):
    (run.output / "trust.json").write_text(json.dumps({"temperature": {"value": value}}))
    with pytest.raises(UserError, match=r"trust\.json is damaged: temperature\.value"):
        temperature_of(run)


@pytest.mark.parametrize("value", [2, -1, "1", True, [1.0]])
def test_a_threshold_that_no_run_writes_is_one_line(run, value):
    (run.output / "trust.json").write_text(json.dumps({"selective": {"threshold": {"value": value}}}))
    with pytest.raises(UserError, match=r"trust\.json is damaged: selective\.threshold\.value"):
        threshold_of(run)
    (run.output / "trust.json").write_text("[]")
    with pytest.raises(UserError, match="is missing"):
        threshold_of(run)
