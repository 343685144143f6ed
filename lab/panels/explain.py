"""Why a network takes an image for what it takes it for: an image of val, or one's own, with prediction and map."""

import io
from dataclasses import replace
from threading import Lock

import numpy as np
import streamlit as st

from datasets.access import looking
from datasets.dataset import Split
from datasets.images import ENDINGS, BrokenImage, read_image
from foundation.errors import UserError, printable
from lab.explanations.drawing import enlarged_image, overlay
from lab.explanations.examples import examples_of, towards_class
from lab.explanations.layers import LAST_STAGE, layers_by_name
from lab.explanations.maps import METHODS
from lab.explanations.network import Network
from lab.explanations.pages import LEGEND_BLOCK, STYLE
from lab.panels.elements import begin, choose_record, guarded, verbatim
from lab.panels.records import find_records

LARGEST_UPLOAD = 10  # MB
MOST_PIXELS = 25_000_000  # of an upload: a small file may decode to many
SHOWN = 5  # likeliest classes
ONE_AT_A_TIME = Lock()  # browsers share the memory, and the network, whose layers remember what passes through them
LAST_MAP = "the last feature map"


@guarded
def show(folders):
    begin("Explain")
    record = choose_record([record for record in find_records(folders) if record.state == "finished"])
    if record is None:
        st.info("No run has finished yet, and only finished ones can be explained.")
        return
    network = network_of(record.run, str(record.run.output), (record.run.output / "metrics.json").stat().st_mtime_ns)
    split, label = _chosen_image(network.dataset)
    if split is not None:
        network, towards = _chosen_map(network, label is not None)
        _show_answer(network, split, label, towards)


@st.cache_resource(max_entries=2, show_spinner="loading the network and its data")
def network_of(_run, folder, version) -> Network:
    """Return the Network of a run in this folder, whose metrics were written at `version`."""
    with looking(writes=False):
        return Network.of(_run)


def _chosen_image(dataset):
    """Return (a split of one image, its label or None), or (None, None) before one is chosen. Raises UserError."""
    source = st.segmented_control("Image", ("of val", "your own"), default="of val", required=True, key="source")
    if source == "of val":
        position = st.number_input(f"Number, of {len(dataset.val)}", 0, len(dataset.val) - 1, 0)
        split = dataset.val.select([position])
        (name,) = split.names("val")
        if split.files:
            st.caption(verbatim(name))
        return split, split.labels
    file = st.file_uploader("Picture", sorted(ENDINGS), max_upload_size=LARGEST_UPLOAD, help="It is looked at and forgotten.")
    return (None, None) if file is None else (_uploaded(file, dataset), None)


def _uploaded(file, dataset):
    """A stranger's file as a split of one image. Raises UserError for what is none, and for what pretends to be a huge one."""
    if file.size > LARGEST_UPLOAD * 2**20:
        raise UserError(f"the file has {file.size:,} bytes, allowed: up to {LARGEST_UPLOAD} MB")
    try:
        with ONE_AT_A_TIME:
            image = read_image(io.BytesIO(file.getvalue()), *dataset.image_shape[1:], ranges=dataset.ranges, largest=MOST_PIXELS)
    except BrokenImage as error:
        raise UserError(f"this can't be read as an image: {error}") from error
    return Split(image[None], np.zeros(1, "int64"))


def _chosen_map(network, is_labelled):
    """Return (the Network with the chosen layers and method, towards which class)."""
    where, how, what = st.columns(3)
    layer = where.selectbox("Layer", [LAST_MAP, LAST_STAGE, *layers_by_name(network.model)])
    method = how.selectbox("Method", list(METHODS))
    special = ["predicted", "true"] if is_labelled else ["predicted"]
    classes = special + list(map(towards_class, network.dataset.class_names))
    towards = what.selectbox("Evidence for the class", classes, format_func=printable)
    return replace(network, layer_names=None if layer == LAST_MAP else (layer,), method=method), towards


def _show_answer(network, split, labels, towards):
    with ONE_AT_A_TIME:
        (example,) = examples_of([network], split, ["image"], towards, labels)
        (probabilities,) = network.probabilities(split)
    (answer,) = example.answers
    st.html(f"<style>{STYLE}</style>{LEGEND_BLOCK[1]}")
    image, heat, classes = st.columns(3)
    image.image(enlarged_image(example.image), "the image, as the network gets it", width="stretch", alt="the image")
    heat.image(overlay(example.image, answer.map), f"evidence for {verbatim(answer.towards)}", width="stretch", alt="the map")
    with classes:
        st.caption("predicted")
        st.subheader(f"{verbatim(answer.predicted)} {100 * answer.probability:.1f} %", anchor=False)  # breaks between words
        if example.true is not None:
            st.write(f"{'right' if example.is_right else 'wrong'}: the true class is {verbatim(example.true)}")
        for label in np.argsort(-probabilities)[:SHOWN]:
            share = float(probabilities[label])
            st.progress(min(share, 1.0), f"{verbatim(network.dataset.class_names[label])} {100 * share:.1f} %")
