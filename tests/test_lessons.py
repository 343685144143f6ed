"""The notebooks of lessons/: they run whole at a small size, have all their parts, and their pages are current and light."""

import re

import numpy as np
import pytest
from nbformat.v4 import new_code_cell
from trained_networks import trained

from foundation.errors import UserError
from lab.explanations.gradients import features_and_gradients
from lab.lessons import running
from lab.lessons.ensemble import Paths, gradient_by_length, share_of_lengths, shuffled
from lab.lessons.notebooks import PAGES, TEXTS, chosen, names, notebook_of, page_of, run_notebooks
from lab.lessons.shattered import autocorrelation, between_pixels

LESSONS = [name for name in names() if name[0].isdigit()]


def text_of(name, kind):
    return [cell.source for cell in notebook_of(name).cells if cell.cell_type == kind]


def test_there_are_eight_lessons_and_the_block_study():
    assert len(LESSONS) == 8 and [*names()] == [*LESSONS, "block_study"]
    assert chosen(["3", "block_study"]) == [LESSONS[2], "block_study"]
    with pytest.raises(UserError, match="unknown lesson"):
        chosen(["9"])


@pytest.mark.parametrize("name", names())
def test_a_lesson_has_a_prediction_a_checked_answer_sources_and_three_hidden_solutions(name):
    words, code = "\n".join(text_of(name, "markdown")), "\n".join(text_of(name, "code"))
    assert "prediction" in words and words.count("<details><summary>Solution</summary>") == words.count("</details>") == 3
    assert "checked" in words and code.count("check(") >= 3
    assert "What others found" in words and words.count("https://arxiv.org/abs/") >= 2
    assert words.index("prediction") < words.index("checked") < words.index("What others found") < words.index("## Exercises")


@pytest.mark.parametrize("name", names())
def test_the_page_of_a_lesson_is_current_and_light(name):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    for source in (*text_of(name, "markdown"), *text_of(name, "code")):
        assert source in page, f"python -m lab.lessons {name} --run"
    pictures = set(re.findall(r"!\[[^]]+\]\(([^)]+)\)", page))
    assert pictures == {path.name for path in PAGES.glob(f"{name}-*.png")}
    assert len(page.encode()) + sum((PAGES / picture).stat().st_size for picture in pictures) < 300_000
    for link in re.findall(r"(?<!!)\[[^]]*\]\(([^)#]+)\)", page):
        assert link.startswith("https://") or (PAGES / link).exists(), link


# The pictures of a run itself: lessons draw theirs.
UNDRAWN = """
import sys
sys.path.insert(0, "..")
from lab.runs.run import Run
Run.write_figure = lambda *_: None
"""


def test_all_lessons_run_whole_at_a_small_size():
    notebooks = {name: notebook_of(name) for name in names()}
    first = next(iter(notebooks.values()))  # one process runs all
    first.cells.insert(0, new_code_cell(UNDRAWN))
    run_notebooks(notebooks, RESLAB_LESSONS="small")
    for name, notebook in notebooks.items():
        _, pictures = page_of(name, notebook)
        assert pictures and all(png.startswith(b"\x89PNG") for png in pictures.values())
    assert not list(TEXTS.glob("output"))


def test_what_a_lesson_claims_is_checked(capsys, monkeypatch):
    monkeypatch.setattr(running, "IS_SMALL", False)
    running.check("one and one are two", 1 + 1 == 2)
    assert capsys.readouterr().out == "holds: one and one are two\n"
    with pytest.raises(AssertionError, match="did not hold here: pigs fly"):
        running.check("pigs fly", False)
    monkeypatch.setattr(running, "IS_SMALL", True)
    running.check("it has learned", False)
    with pytest.raises(AssertionError):
        running.check("pigs fly", False, needs_training=False)


def test_gradients_along_a_line_are_alike_or_shattered():
    random = np.random.default_rng(0)
    noise = autocorrelation(random.normal(size=(64, 400)))
    assert noise[0] == pytest.approx(1) and np.abs(noise[1:]).max() < 0.1
    smooth = autocorrelation(np.cumsum(random.normal(size=(64, 400)), axis=0))
    assert smooth[1] > 0.8 and (np.diff(smooth[:20]) < 0).all()
    even, own = np.ones((2, 6, 6, 3)), random.normal(size=(20, 12, 12, 4))
    assert between_pixels(even) == pytest.approx([1, 1, 1]) and np.abs(between_pixels(own)[1:]).max() < 0.1


IMAGES = np.random.default_rng(1).standard_normal((3, 12, 12, 3)).astype("float32")


@pytest.mark.numeric
def test_the_gradient_is_the_sum_over_all_paths():
    model, classes = trained("preresnet20", 12, blocks=1), np.array([0, 3, 6])
    _, (whole,) = features_and_gradients(model, IMAGES, classes, [model.get_layer("stem_conv")])
    paths = Paths(model, IMAGES, classes)
    subsets = [[i for i in range(3) if number >> i & 1] for number in range(8)]
    total = sum(paths.gradient(subset) for subset in subsets)
    whole = np.asarray(whole)
    assert np.abs(total - whole).max() <= 1e-4 * np.abs(whole).max()
    norms = gradient_by_length(model, IMAGES, classes, samples=1)
    assert norms[3] == pytest.approx(np.linalg.norm(paths.gradient([0, 1, 2])), rel=1e-4)
    paths_share, gradient_share = share_of_lengths(norms)
    assert paths_share == pytest.approx([1 / 8, 3 / 8, 3 / 8, 1 / 8]) and gradient_share.sum() == pytest.approx(1)


def test_only_pre_activation_blocks_have_paths():
    with pytest.raises(UserError, match="preresnet20"):
        Paths(trained("resnet20", 12, blocks=1), IMAGES, np.zeros(3, int))


@pytest.mark.numeric
def test_shuffled_blocks_keep_their_stage_and_their_weights():
    model = trained("resnet20", 12, blocks=3)
    same, tau = shuffled(model, 0)
    assert tau == pytest.approx(1)
    logits = [np.asarray(network(IMAGES, training=False).detach()) for network in (model, same, shuffled(model, 4)[0])]
    assert np.abs(logits[0] - logits[1]).max() <= 1e-4 * np.abs(logits[0]).max()
    assert np.abs(logits[0] - logits[2]).max() > 1e-3 * np.abs(logits[0]).max()
    changed, tau = shuffled(model, 4)
    assert tau < 1 and sorted(layer.name for layer in changed.layers) == sorted(layer.name for layer in model.layers)
