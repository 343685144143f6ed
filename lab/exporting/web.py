"""One HTML file that names pictures: network, classes and the JavaScript that computes them, without a server and the network."""

import base64
import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from foundation.errors import printable
from foundation.escaping import for_html
from lab.exporting.web_program import program_of

FOLDER = Path(__file__).parent
SCRIPTS = ("network", "pixels", "answers", "page")  # each in `web_NAME.js`
TOLERANCE = 1e-3  # of logits, times the largest where that is above 1: their weights have 16 bits


def write_web(model, contract, path):
    """Write the page of a network from pixels to logits. Raises RunFailure for layers that its JavaScript does not know."""
    program = program_of(model)
    logits = _logits_of_pattern(model)
    names = [printable(name) for name in contract.class_names]
    data = {
        "size": contract.image_size,
        "channels": len(contract.mean),
        "class_names": names,
        "temperature": contract.temperature,
        "check": logits,
        "tolerance": TOLERANCE * max(1.0, *(abs(value) for value in logits)),
        "operations": program.operations,
        "tensors": program.tensors,
        "contract": asdict(contract),
    }
    parts = {
        "TITLE": f"What does this picture show? One of {len(names)} classes",
        "COUNT": f"{len(names):,}",
        "CLASSES": "".join(f"<li>{for_html(name)}</li>" for name in names),
        "FACTS": "".join(f"<li>{for_html(fact)}</li>" for fact in _facts(model, contract)),
        "PROGRAM": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "WEIGHTS": base64.b64encode(program.block).decode(),
    }
    parts |= {name.upper(): (FOLDER / f"web_{name}.js").read_text(encoding="utf-8") for name in SCRIPTS}
    template = (FOLDER / "web_page.html").read_text(encoding="utf-8")
    parts["POLICY"] = _policy(template, [parts[name.upper()] for name in SCRIPTS])
    path.write_text(re.sub("@([A-Z]+)@", lambda found: parts[found[1]], template), encoding="utf-8")


def _policy(template, scripts):
    """Return the page's security policy: it may run these scripts, and reach no address at all."""
    (style,) = re.findall("<style>(.*?)</style>", template, re.DOTALL)
    allowed = " ".join(_digest(text) for text in scripts)
    return f"default-src 'none'; script-src {allowed}; style-src {_digest(style)}; worker-src blob:; img-src data:"


def _digest(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def pattern(length):
    """Return the numbers that the page checks itself with, as `web_answers.js` has them, uint8."""
    return ((np.arange(length, dtype="uint64") * 2654435761 & 0xFFFFFFFF) >> 24).astype("uint8")


def _logits_of_pattern(model):
    images = pattern(int(np.prod(model.input_shape[1:]))).reshape(1, *model.input_shape[1:])
    return keras.ops.convert_to_numpy(model(images, training=False))[0].tolist()


def _facts(model, contract):
    size, is_calibrated = contract.image_size, contract.temperature != 1.0
    sure = (
        f"divided by the temperature {contract.temperature:.3f}, which was fitted on val" if is_calibrated else "not calibrated"
    )
    return [
        f"Architecture {contract.model} with {model.count_params():,} weights, made with Reslab.",
        f"A picture is stretched to {size} by {size} pixels as in training; nothing is cropped.",
        "It gives every picture one of its classes, also one that shows none of them.",
        f"Probabilities are those of the logits, {sure}.",
        "Weights of convolutions have 16 bits: each is off by at most 1/65,534 of its channel's largest.",
        "Lossless pictures become the same pixels as in training; those of JPEG, nearly: browsers decode otherwise.",
    ]
