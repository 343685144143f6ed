"""Who is taken for whom: the confusion matrix of a run, whose cells open their images."""

import numpy as np
import streamlit as st

from datasets.access import looking
from datasets.images import read_picture
from foundation.errors import UserError
from foundation.grammar import counted
from lab.panels.elements import shown_share, shown_text, verbatim
from lab.panels.records import reading
from lab.reports.errors import shown
from lab.reports.finished import Finished
from lab.runs.contents import classes_of
from lab.runs.predictions import SPLITS

SHOWN = 60  # images of a cell on the page
WIDTH = 96  # pixels of an image
LONGEST = 40  # letters of a class in the head of a column


def show_confusion(folders, record):
    """Show the matrix of test as drawn, the most-confused pairs, and the matrix as numbers whose cells open their images."""
    picture = record.run.output / "confusion.png"
    if not record.metrics or not picture.is_file():
        st.info("A run's confusion is measured when it has finished.")
        return
    pairs = [
        (shown_text(pair["true"]), shown_text(pair["predicted"]), pair["images"], shown_share(pair["share"]))
        for pair in record.metrics["most_confused"]
    ]
    matrix, table = st.columns((3, 2))
    with reading(record, "confusion.png"):
        matrix.image(read_picture(picture), width="stretch", alt=f"confusion matrix of {record.name} on test")
    table.subheader("Most confused on test", anchor=False)
    columns = ("true", "taken for", "images", "share of the true class")
    table.dataframe({name: [pair[i] for pair in pairs] for i, name in enumerate(columns)}, hide_index=True)
    _show_cells(record)


def _show_cells(record):
    """Show the matrix as numbers, and the images of the cell that a person clicks."""
    st.subheader("The images of a cell", anchor=False)
    split = st.segmented_control("Split", SPLITS, default="test", required=True, key="split", bind="query-params")
    confusion = record.metrics[split].get("confusion")
    if confusion is None:
        st.info("This run recorded no matrix in numbers: `python evaluate.py` records one of up to 200 classes.")
        return
    names = [shown_text(entry["name"]) for entry in classes_of(record.run)]
    if len(names) != len(confusion):
        raise UserError(f"classes.json of run '{record.name}' names {len(names)} classes, metrics.json counts {len(confusion)}")
    st.caption("Rows are true classes, columns what they are taken for. A click on a number opens its images.")
    heads = {str(label): st.column_config.NumberColumn(name[:LONGEST]) for label, name in enumerate(names)}
    cells = {"true": names} | {str(label): [row[label] for row in confusion] for label in range(len(names))}
    chosen = st.dataframe(
        cells, hide_index=True, column_config=heads, on_select="rerun", selection_mode="single-cell", key=f"cell-{split}"
    ).selection.cells
    if chosen and chosen[0][1] != "true":
        show_cell(record, split, chosen[0][0], int(chosen[0][1]))


def show_cell(record, split, true, answer):
    """Show the images of a split whose true class and answer are these labels. Raises UserError."""
    found = _finished(record.run, str(record.run.output), (record.run.output / "metrics.json").stat().st_mtime_ns)
    predictions, names = found.predictions(split), [entry["name"] for entry in classes_of(record.run)]
    places = np.flatnonzero((predictions.labels == true) & (predictions.answers == answer))
    what = "named correctly" if true == answer else f"taken for {verbatim(names[answer])}"
    some = f", of which {SHOWN} are shown" if len(places) > SHOWN else ""
    st.markdown(f"{counted(len(places), 'image')} of {verbatim(names[true])} {what}{some}")
    if not len(places):
        return
    identities = [predictions.images[place] for place in places[:SHOWN]]
    with looking(writes=False):
        images = found.images_of(split, identities)
    with st.container(horizontal=True, gap="small"):
        for identity, pixels in zip(identities, images, strict=True):
            image = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
            alt = f"an image of {shown_text(names[true])}"
            st.image(image, verbatim(shown(identity)), width=WIDTH, output_format="PNG", alt=alt)


@st.cache_resource(max_entries=2, show_spinner="loading the data")
def _finished(_run, folder, version):
    """The finished run in this folder, whose metrics were written at `version`, with its data as they lie on this machine."""
    found = Finished(_run, _run.name)
    with looking(writes=False):
        found.dataset  # noqa: B018  it is loaded once
    return found
