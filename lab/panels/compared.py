"""Curves of several runs in one chart, which a person can zoom, and whose points say what they are."""

import altair as alt
import pandas as pd
import streamlit as st

from foundation.style import looks
from lab.panels.elements import shown_text

METRICS = {"accuracy": "accuracy (%)", "loss": "cross-entropy"}
SPLITS = {"val_": "val", "": "train (augmented)"}
READING = "Point at a dot to read it. Turn the wheel to zoom, drag to move, double-click to see everything again."


def show_compared(records):
    """Show accuracy and loss of val and train over epochs, runs beside one another in the same colours as on all figures."""
    st.subheader("Training curves compared", anchor=False)
    for column, metric in zip(st.columns(2), METRICS, strict=True):
        column.altair_chart(chart_of(records, metric), key=f"{metric} compared")
    st.caption(READING)


def chart_of(records, metric):
    """Return the chart of a metric of METRICS."""
    look_of = looks(record.name for record in records)
    names = [shown_text(name) for name in look_of]
    run = alt.Color(
        "run:N",
        scale=alt.Scale(domain=names, range=[look["color"] for look in look_of.values()]),
        legend=alt.Legend(orient="bottom", columns=2, labelLimit=240),
        title=None,
    )
    base = alt.Chart(pd.DataFrame(list(rows_of(records, metric)))).encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(zero=False, nice=False, padding=12)),
        y=alt.Y("value:Q", title=METRICS[metric], scale=alt.Scale(zero=False, padding=12)),
        color=run,
    )
    tooltip = ["run:N", "split:N", "epoch:Q", alt.Tooltip("value:Q", title=METRICS[metric], format=".4g")]
    dashes = alt.Scale(domain=list(SPLITS.values()), range=[[1, 0], [5, 3]])
    # at the top, because beside the runs' legend it is cut off in a narrow window
    split = alt.StrokeDash("split:N", scale=dashes, legend=alt.Legend(orient="top"), title=None)
    lines = base.mark_line().encode(strokeDash=split)
    points = base.mark_point(filled=True, size=60, opacity=0.6).encode(tooltip=tooltip)
    words = f"{metric} of {', '.join(names)} compared"
    zoom = alt.selection_interval(bind="scales", name="zoom")
    return alt.layer(lines, points).add_params(zoom).properties(height=460, description=words, title=metric)


def rows_of(records, metric):
    """Yield a row for each run, split and epoch: the values of a metric that the chart draws."""
    for record in records:
        for prefix, split in SPLITS.items():
            values = record.history.get(prefix + metric, [])
            for epoch, value in zip(record.history["epoch"], values, strict=False):
                shown = 100 * value if metric == "accuracy" else value
                yield {"run": shown_text(record.name), "split": split, "epoch": epoch, "value": shown}
