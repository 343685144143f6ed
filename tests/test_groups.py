"""Pictures listed by a CSV file, and groups of pictures that stay in one split."""

import re
from collections import Counter

import numpy as np
import pytest
from conftest import write_images
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.catalog import check_name, check_there, expected, load, pool_of, short_name
from datasets.dataset import Source, Split
from datasets.groups import numbered, share_of_groups
from datasets.splits import complete
from foundation.allowed import group_pattern
from foundation.errors import UserError
from foundation.randomness import generator

SPLITS = ("train", "val", "test")


def grouped_source(sizes, groups_of_class):
    """A Source of pictures of one pixel: a class has a group of each of its sizes."""
    labels, groups = [], []
    for label, own in enumerate(groups_of_class):
        for number in range(own):
            size = sizes[(label + number) % len(sizes)]
            labels += [label] * size
            groups += [f"{label}-{number}"] * size
    images = np.arange(len(labels), dtype="uint32").view("uint8").reshape(-1, 1, 1, 4)[..., :3]
    return Source(Split(images, np.array(labels), groups=tuple(groups)), tuple(map(str, range(len(groups_of_class)))))


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.lists(st.integers(3, 30), min_size=2, max_size=4),
    st.integers(0, 99),
    st.sampled_from([0.1, 0.2, 0.3]),
)
def test_a_group_stays_in_one_split_and_shares_are_stratified_as_well_as_groups_allow(sizes, groups_of_class, seed, share):
    source = grouped_source(sizes, groups_of_class)
    dataset = complete("made", source, share, seed)
    places = [(group, name) for name in SPLITS for group in set(dataset.splits[name].group_names())]
    assert len(dict(places)) == len(places) == sum(groups_of_class)
    assert sum(map(len, dataset.splits.values())) == len(source.train)
    for label in range(len(groups_of_class)):
        own = (source.train.labels == label).sum()
        counts = {name: int((dataset.splits[name].labels == label).sum()) for name in SPLITS}
        assert min(counts.values()) > 0
        for name in ("val", "test"):  # a group that is as large as the distance could have come, or gone
            assert abs(counts[name] - share * own) <= max(sizes) + 1
    again = complete("made", source, share, seed)
    assert all(np.array_equal(again.splits[name].rows, dataset.splits[name].rows) for name in SPLITS)


def test_other_seeds_draw_other_groups_and_groups_of_one_picture_are_split_as_pictures_are():
    source = grouped_source([2], [40, 40])
    tests = {tuple(sorted(set(complete("made", source, 0.1, seed).test.group_names()))) for seed in range(8)}
    assert len(tests) == 8
    labels = np.repeat([0, 1], [90, 10])
    taken = share_of_groups(labels, numbered([None] * 100), 20, 2, generator(0, "test"), 1)
    assert Counter(labels[taken].tolist()) == {0: 18, 1: 2}


def test_a_group_of_several_classes_counts_for_each_of_them():
    labels = np.array([0, 1] * 50)
    groups = numbered([f"patient {i // 10}" for i in range(100)])
    taken = share_of_groups(labels, groups, 20, 2, generator(3, "test"), 2)
    assert Counter(labels[taken].tolist()) == {0: 10, 1: 10} and len(set(groups[taken])) == 2


def test_classes_of_too_few_groups_are_one_line():
    with pytest.raises(
        UserError, match=r"too small to split: class '1' has 2 groups of pictures for 3 splits.*no --val-fraction"
    ):
        complete("made", grouped_source([5], [9, 2]), 0.1, 0)


@pytest.fixture
def bursts(in_folder):
    """A folder of two classes: 12 bursts of 5 pictures in each."""
    write_images(in_folder / "photos", ("dark", "light"), 60)
    for file in sorted(in_folder.glob("photos/*/*.png")):
        number = int(file.stem)
        file.rename(file.with_name(f"{file.parent.name}{number // 5:02d}_{number % 5}.png"))
    return in_folder / "photos"


def bursts_of(split):
    return {re.search(r"([a-z]+\d+)_", name)[1] for name in split.names("")}


def test_a_regular_expression_over_the_path_names_groups(bursts):
    loaded = load("folder:photos", group_by=r"/(\w+)_\d", val_fraction=0.2)
    found = [bursts_of(split) for split in loaded.splits.values()]
    assert [len(split) for split in loaded.splits.values()] == [80, 20, 20] and list(map(len, found)) == [16, 4, 4]
    assert len(set.union(*found)) == 24
    assert "groups of pictures: train has 16, val has 4 and test has 4" in loaded.notes
    assert load("folder:photos", group_by=r"/(\w+)_\d", val_fraction=0.2, colour="grey").val.group_names()
    apart = load("folder:photos", val_fraction=0.2)
    assert bursts_of(apart.train) & bursts_of(apart.test) and apart.train.groups is None


def test_groups_that_given_splits_share_are_told(bursts):
    (bursts / "test").mkdir()
    for name in ("dark", "light"):
        (bursts / "train").mkdir(exist_ok=True)
        (bursts / name).rename(bursts / "train" / name)
        (bursts / "test" / name).mkdir()
        (bursts / "train" / name / f"{name}03_0.png").rename(bursts / "test" / name / f"{name}03_0.png")
    notes = load("folder:photos", group_by=r"(\w+)_\d").notes
    assert any(note.startswith("2 groups of test are in ") and "(dark03, light03)" in note for note in notes)


def listed(folder, text, name="labels.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return f"folder:{folder / name}"


def rows_of(folder, columns="path,label", row="{path},{label}"):
    files = [file.relative_to(folder) for file in sorted(folder.glob("*/*.png"))]
    lines = [row.format(path=file.as_posix(), label=file.parent.name.upper(), i=i) for i, file in enumerate(files)]
    return "\n".join([columns, *lines]) + "\n"


def test_a_csv_serves_instead_of_folders(bursts):
    name = listed(bursts, rows_of(bursts))
    of_csv, of_folder = load(name), load("folder:photos")
    assert of_csv.class_names == ("DARK", "LIGHT") and of_folder.class_names == ("dark", "light")
    for split in SPLITS:
        assert np.array_equal(of_csv.splits[split].read(), of_folder.splits[split].read())
        assert of_csv.splits[split].names("") == of_folder.splits[split].names("")
    check_there(name)
    assert expected(name) == expected("folder:photos") == (96, 12, 2)
    assert (short_name(name), short_name("folder:labels.csv")) == ("photos-labels", "labels")
    assert pool_of(name) == pool_of("folder:photos")


def test_a_csv_names_splits_and_groups_in_any_spelling_of_the_columns(bursts):
    text = rows_of(bursts, "Label;Path;Split;Group;Camera", "{label};{path};train;{i};c{i}")
    lines = [line.replace(";train;", f";{('train', 'Valid', 'test')[i % 3]};") for i, line in enumerate(text.splitlines()[1:])]
    name = listed(bursts, "\ufeff" + "\r\n".join([text.splitlines()[0], "", *lines]))
    loaded = load(name)
    assert [len(split) for split in loaded.splits.values()] == [40, 40, 40]
    assert sorted(loaded.test.group_names(), key=int)[:2] == ["2", "5"]
    assert sorted(load(name, group_by="camera").test.group_names())[0] == "c101"
    assert bursts_of(load(name, group_by=r"(light\d+)_").train) and len(load(name, group_by=r"(light\d+)_").train) == 40


def test_rows_without_a_group_are_groups_of_their_own(bursts):
    name = listed(bursts, rows_of(bursts, "path,label,group", "{path},{label},") + "dark/darkx.png,DARK,g\n")
    write_images(bursts / "extra", ("dark",), 1, seed=5)
    (bursts / "extra/dark/000.png").rename(bursts / "dark/darkx.png")
    loaded = load(name)
    assert sum(split.group_names().count(None) for split in loaded.splits.values()) == 120
    assert any("120 pictures have none" in note for note in loaded.notes)


MISTAKES = {
    "path,lable\na,b\n": "no column 'label': did you mean 'lable'? (allowed: path, lable)",
    "": "no column 'path': it has none",
    "path,label,path\na,b,c\n": "2 columns called 'path'",
    "path,label\nnone.png,dark\n": "row 2: there is no file",
    "path,label\ndark/dark00_0.png,\n": "row 2: label of dark/dark00_0.png is empty",
    "path,label\n,dark\n": "row 2: path is empty",
    "path,label\n../x.png,dark\n": "row 2: path '../x.png' is not below the folder of the CSV file",
    "path,label\n/etc/passwd,dark\n": "row 2: path '/etc/passwd' is not below the folder",
    "path,label\ndark/dark00_0.png,dark\ndark/./dark00_0.png,dark\n": "row 3: path 'dark/./dark00_0.png' stands in an",
    "path,label,split\ndark/dark00_0.png,dark,tset\n": "row 2: unknown split 'tset'; did you mean 'test'? (allowed: train, test,",
    "path,label\ndark/dark00_0.png\n": "row 2: 1 cell for 2 columns",
    "path,label\ndark/dark00_0.png,dark\n": "names 1 class for train; at least two are needed",
    "path,label\na,b\nc,d\ne,f\ng,h\ni,j\n": "; and 2 more",
    "path,label,split\ndark/dark00_0.png,dark,train\ndark/dark00_1.png,light,train\ndark/dark00_2.png,lihgt,test\n": "'light'?",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_a_csv_is_one_line(bursts, text):
    with pytest.raises(UserError) as error:
        check_there(listed(bursts, text))
    assert MISTAKES[text] in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", [b"path,label\n\xff,b\n", b'path,label\n"a,b\n\x00'])
def test_a_csv_that_is_none_is_one_line(bursts, text):
    (bursts / "labels.csv").write_bytes(text)
    with pytest.raises(UserError):
        check_there("folder:photos/labels.csv")
    with pytest.raises(UserError, match=r"no file photos/lables\.csv"):
        check_there("folder:photos/lables.csv")


def test_mistakes_in_group_by_are_one_line(bursts):
    for group_by, message in {
        "bird": "group_by 'bird' is no column: photos has no CSV; a regular expression has a group",
        r"(x\d+)_": "finds a group for no picture, such as dark/dark00_0.png",
    }.items():
        with pytest.raises(UserError, match=re.escape(message)):
            load("folder:photos", group_by=group_by)
    name = listed(bursts, rows_of(bursts, "path,label,patient", "{path},{label},{i}"))
    with pytest.raises(UserError, match=r"did you mean 'patient'\?"):
        load(name, group_by="patients")
    with pytest.raises(UserError, match=r"which data set 'digits' lacks \(allowed: indian_birds, folder:PATH\)"):
        check_name("digits", "(a)")
    assert group_pattern("") is group_pattern("patient") is group_pattern(r"(\d+)_") is None
    assert all("with a group" in group_pattern(text) for text in ("(?:a)", "(a", "(a{99999999999})"))
