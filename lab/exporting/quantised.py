"""ONNX with weights and activations of 8 bits, by ONNX Runtime's static quantisation, and the accuracy that this costs on val."""

import tempfile
from pathlib import Path

import numpy as np
from scipy import stats

from foundation.errors import RunFailure
from foundation.sampling import evenly_spaced

CALIBRATION, MEASURED = 256, 2000  # images of val, at most: those of even places set the ranges, those of odd ones measure
QUANTISED = ("Conv", "Gemm", "MatMul")


def val_halves(val):
    """Return (images to calibrate on, images to measure on, labels of the latter), disjoint and evenly spaced over val."""
    even, odd = (np.arange(first, len(val), 2) for first in (0, 1))
    even, odd = (places[evenly_spaced(len(places), most)] for places, most in ((even, CALIBRATION), (odd, MEASURED)))
    if not len(odd):
        raise RunFailure(f"int8 needs two images of val at least, and there are {len(val)}")
    return np.ascontiguousarray(val.read(even)), np.ascontiguousarray(val.read(odd)), val.labels[odd]


def quantise(proto, images, path):
    """Write an ONNX model with 8-bit convolutions and dense layers to a path; `images` set the ranges of activations.

    Weights have a scale for each output channel and 7 of the 8 bits, because processors without VNNI add pairs of products in 16
    bits, which 8 would overflow: so the result is the same everywhere.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static

    class Images(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(np.array_split(images, -(-len(images) // 32)))

        def get_next(self):
            batch = next(self.rest, None)
            return None if batch is None else {"images": batch}

    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    with tempfile.TemporaryDirectory() as folder:
        source, prepared = Path(folder) / "model.onnx", Path(folder) / "prepared.onnx"
        source.write_bytes(proto.SerializeToString())
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        options = {"op_types_to_quantize": list(QUANTISED), "per_channel": True, "reduce_range": True, **types}
        quantize_static(prepared, path, Images(), quant_format=QuantFormat.QDQ, **options)


def check_accuracy(before, after, labels, allowed) -> str:
    """Return a sentence on the accuracy that is lost from logits to others. Raises RunFailure above `allowed` points."""
    right = [logits.argmax(1) == labels for logits in (before, after)]
    lost = 100 * (int(right[0].sum()) - int(right[1].sum())) / len(labels)
    low, high = (100 * end for end in paired_interval(*right))
    found = (
        f"accuracy {100 * right[1].mean():.2f} % instead of {100 * right[0].mean():.2f} % on {len(labels):,} images of val: "
        f"{lost:.2f} points lost (95 % interval {low:.2f} to {high:.2f})"
    )
    if lost > allowed:
        raise RunFailure(f"{found}; --allow-loss {np.ceil(10 * lost) / 10:g} accepts that (allowed: {allowed:g})")
    return found


def paired_interval(first, other, confidence=0.95):
    """Return the interval of the difference of two shares of the same images (Newcombe 1998, paired, method 10), in -1..1.

    `first` and `other` say of each image whether it counts, `(N,)` of booleans.
    """
    first, other, n = np.asarray(first, bool), np.asarray(other, bool), len(first)
    both, neither = int((first & other).sum()), int((~first & ~other).sum())
    only_first, only_other = int((first & ~other).sum()), int((~first & other).sum())
    p1, p2 = (both + only_first) / n, (both + only_other) / n
    (low1, high1), (low2, high2) = (
        stats.binomtest(both + only, n).proportion_ci(confidence, method="wilson") for only in (only_first, only_other)
    )
    product = (both + only_first) * (only_other + neither) * (both + only_other) * (only_first + neither)
    cross = both * neither - only_first * only_other
    cross = max(cross - n / 2, 0.0) if cross > 0 else cross
    phi = cross / product**0.5 if product else 0.0

    def distance(a, b):
        return max(a * a - 2 * phi * a * b + b * b, 0.0) ** 0.5

    return p1 - p2 - distance(p1 - low1, high2 - p2), p1 - p2 + distance(high1 - p1, p2 - low2)
