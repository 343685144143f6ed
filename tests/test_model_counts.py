"""Parameters and multiply-accumulates of networks, against papers, hand counts and torch."""

import keras
import numpy as np
import pytest

from dispatcher import architecture_of, build_model, measure_model
from models.costs import count_macs

# Of the CIFAR-10 study, for 32x32x3 and 10 classes, moving statistics included.
STUDY_PARAMETERS = {
    "xresnet20": 274_682,
    "xresnet32": 470_010,
    "xresnet44": 665_338,
    "xresnet56": 860_666,
    "mxresnet20": 274_682,
    "mxresnet32": 470_010,
    "mxresnet44": 665_338,
    "mxresnet56": 860_666,
    "se-mxresnet20": 276_698,
    "se-mxresnet32": 473_370,
    "se-mxresnet44": 670_042,
    "se-mxresnet56": 866_714,
    "xresnet29": 325_962,
    "xresnext29_16x2d": 338_570,
    "xresnext47_16x2d": 541_962,
    "xresnext65_16x2d": 745_354,
    "xresnext83_16x2d": 948_746,
    "se-mxresnext29_16x2d": 370_826,
    "se-mxresnext47_16x2d": 595_722,
    "se-mxresnext65_16x2d": 820_618,
    "se-mxresnext83_16x2d": 1_045_514,
}


def build_undrawn(*arguments, **options):
    """A network as `build_model` returns it, with kernels of zeros: to draw those of large ones takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.layers.drawn_kernel", lambda shape, dtype=None: keras.ops.zeros(shape, dtype))
        return build_model(*arguments, **options)


@pytest.mark.parametrize("name", STUDY_PARAMETERS)
def test_every_model_of_the_study_has_its_stated_parameters(name):
    """As they are counted without building it; that every network has what is counted is asked below."""
    assert measure_model(name)[2] == STUDY_PARAMETERS[name]


def test_resnet20_has_272474_trainable_parameters():
    """He et al. 2015, table 6 says 0.27M; with projections (1x1 convolution and norm) it is this many."""
    model = build_model("resnet20", (32, 32, 3), 10)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_variables) == 272_474


@pytest.mark.parametrize("name", [*STUDY_PARAMETERS, "resnet50d-224"])
def test_the_studys_pooling_shortcuts_are_its_own(name):
    assert architecture_of(name).has_study_shortcut == (name in STUDY_PARAMETERS)


def test_macs_of_xresnet20_equal_the_hand_count():
    stem = 32 * 32 * 9 * 3 * 16
    stages = 6 * 32 * 32 * 9 * 16 * 16
    stages += 16 * 16 * 9 * (16 * 32 + 5 * 32 * 32) + 8 * 8 * 9 * (32 * 64 + 5 * 64 * 64)
    shortcuts = 16 * 16 * 16 * 32 + 8 * 8 * 32 * 64
    assert count_macs(build_model("xresnet20", (32, 32, 3), 10)) == stem + stages + shortcuts + 128 * 10


# Trainable, as papers count: (name, options, pixels, classes, parameters, multiply-accumulates where a paper or study has them).
PAPER_COUNTS = [
    ("resnet20", {"shortcut": "zero"}, 32, 10, 269_722, 40_551_040),
    ("resnet20", {}, 32, 10, 272_474, 40_813_184),
    ("resnet32", {"shortcut": "zero"}, 32, 10, 464_154, 68_862_592),
    ("resnet44", {"shortcut": "zero"}, 32, 10, 658_586, 97_174_144),
    ("resnet56", {"shortcut": "zero"}, 32, 10, 853_018, 125_485_696),
    ("resnet110", {"shortcut": "zero"}, 32, 10, 1_727_962, 252_887_680),
    ("resnet18", {}, 32, 10, 11_173_962, 555_422_720),
    ("resnet18-224", {}, 224, 1000, 11_689_512, 1_814_073_344),
    ("resnet34-224", {}, 224, 1000, 21_797_672, 3_663_761_408),
    ("resnet50-224", {}, 224, 1000, 25_557_032, 4_089_184_256),
    ("wrn16-4", {}, 32, 10, 2_748_890, 392_612_352),
    ("wrn28-10", {}, 32, 10, 36_479_194, 5_243_328_768),
]


@pytest.mark.parametrize(("name", "options", "size", "classes", "parameters", "macs"), PAPER_COUNTS)
def test_parameters_and_macs_are_those_of_the_papers(name, options, size, classes, parameters, macs):
    model = build_undrawn(name, (size, size, 3), classes, **options)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_variables) == parameters
    assert count_macs(model) == macs


COUNTED = {
    "mini-basic-post": (2, (32, 64, 128)),
    "mini-basic-pre": (2, (32, 64, 128)),
    "mini-bottleneck-post": (2, (32, 64, 128)),
    "mini-bottleneck-pre": (2, (32, 64, 128)),
    "preresnet20": (3, (16, 32, 64)),
    "preresnet56": (9, (16, 32, 64)),
}


@pytest.mark.parametrize("name", COUNTED)
def test_networks_whose_papers_give_no_counts_have_those_of_a_hand_count(name):
    """Convolutions without bias, two trainable numbers a channel of a norm, no norm on a projection where norms come first."""
    (blocks, stages), is_mini, is_pre = COUNTED[name], name.startswith("mini"), "pre" in name
    channels, last = stages[0], stages[-1]
    total = 9 * 3 * channels + 2 * channels * is_mini + 2 * last * is_pre + last * 25 + 25
    for filters in stages:
        for _ in range(blocks):
            inner = filters // 4
            kernels = [(1, channels, inner), (9, inner, inner), (1, inner, filters)]
            kernels = kernels if "bottleneck" in name else [(9, channels, filters), (9, filters, filters)]
            total += sum(size * read * written + 2 * (read if is_pre else written) for size, read, written in kernels)
            total += channels * filters + 2 * filters * (not is_pre) if channels != filters else 0
            channels = filters
    model = build_model(name, (32, 32, 3), 25)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_variables) == total


def test_the_sizes_that_he_et_al_round_to():
    """He et al. 2015, table 6, in millions."""
    table = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}
    counts = {name: parameters for name, options, _, _, parameters, _ in PAPER_COUNTS if options}
    for depth, millions in table.items():
        assert counts[f"resnet{depth}"] / 1e6 == pytest.approx(millions, abs=0.03 if depth == 110 else 0.005)
