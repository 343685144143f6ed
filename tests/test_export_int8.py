"""Export with 8 bits: smaller, near the network, and refused where it costs more accuracy than is allowed."""

import keras
import numpy as np
import onnx
import pytest
from trained_networks import trained

from datasets.dataset import Split
from foundation.errors import RunFailure
from lab.exporting.formats import write_int8
from lab.exporting.network import Contract, from_pixels
from lab.exporting.predict import OnnxNetwork
from lab.exporting.quantised import check_accuracy, paired_interval, val_halves

CONTRACT = Contract("resnet20", {}, 16, list("abcdefg"), [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])


def test_a_network_of_8_bits_has_8_bits_and_is_near_the_one_of_32(tmp_path):
    model = from_pixels(trained("resnet6n2", 16, blocks=1, filters=(8, 16)), CONTRACT)
    images = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), "uint8")
    write_int8(model, CONTRACT, tmp_path / "model.onnx", images)
    found = OnnxNetwork(tmp_path / "model.onnx")(images)  # which reads its contract too
    logits = keras.ops.convert_to_numpy(model(images, training=False))
    assert np.abs(found - logits).max() < 0.2 * np.ptp(logits)
    proto = onnx.load(tmp_path / "model.onnx")
    convolutions = sum(node.op_type == "Conv" for node in proto.graph.node)
    kernels = [
        tensor for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert len(kernels) == convolutions == 7


def test_images_that_set_the_ranges_do_not_measure_what_is_lost():
    images = np.arange(9, dtype="uint8")[:, None, None, None] * np.ones((9, 2, 2, 3), "uint8")
    calibration, measured, labels = val_halves(Split(images, np.arange(9)))
    assert (
        calibration[:, 0, 0, 0].tolist() == [0, 2, 4, 6, 8] and measured[:, 0, 0, 0].tolist() == [1, 3, 5, 7] == labels.tolist()
    )
    with pytest.raises(RunFailure, match="two images of val"):
        val_halves(Split(images[:1], np.arange(1)))


def test_a_loss_of_accuracy_is_told_with_its_interval_and_refused_above_what_is_allowed():
    labels = np.zeros(200, int)
    before, after = np.tile([1.0, 0.0], (200, 1)), np.tile([1.0, 0.0], (200, 1))
    after[:5] = [0.0, 1.0]
    said = check_accuracy(before, after, labels, 2.5)
    assert "accuracy 97.50 % instead of 100.00 % on 200 images of val: 2.50 points lost (95 % interval " in said
    with pytest.raises(RunFailure, match=r"--allow-loss 2.5 accepts that \(allowed: 1\)"):
        check_accuracy(before, after, labels, 1.0)
    check_accuracy(after, before, labels, 0.0)  # a gain


def test_the_interval_of_paired_shares_holds_the_difference_as_often_as_it_says():
    """The share of 2,000 draws at 95 % that holds it has a standard error of half a point."""
    random, held = np.random.default_rng(0), 0
    for _ in range(2000):
        kinds = random.choice(4, 150, p=(0.8, 0.06, 0.03, 0.11))  # both right, only the first, only the other, none
        low, high = paired_interval(kinds <= 1, (kinds == 0) | (kinds == 2))
        held += low <= 0.03 <= high
    assert 0.935 <= held / 2000 <= 0.985
    same = np.arange(40) % 3 == 0
    low, high = paired_interval(same, same)
    assert low == pytest.approx(-high) and 0 < high < 0.12
