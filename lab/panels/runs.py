"""All runs: those that train as they train, a table of all, and several compared."""

import streamlit as st

from foundation.grammar import duration
from lab.panels.compared import show_compared
from lab.panels.curves import REFRESH, show_curves, show_progress
from lab.panels.elements import begin, guarded, show_wide, verbatim
from lab.panels.records import STATES, find_records
from lab.reports.curves import draw_rates
from lab.training.metrics_table import interval_in_words

COLUMNS = {
    "val accuracy": st.column_config.NumberColumn(format="%.2f %%"),
    "test accuracy": st.column_config.NumberColumn(format="%.2f %%"),
    "parameters": st.column_config.NumberColumn(format="localized"),
    "MACs": st.column_config.NumberColumn(format="localized", width=120),
    "images/s": st.column_config.NumberColumn(format="%.0f"),
}


@guarded
def show(folders, run_page=None):
    """`run_page` shows one run; None: there is no link to it."""
    begin("Runs")
    records = find_records(folders)
    if not records:
        st.info(f"No run in {verbatim(folders.output)} yet: `python train.py` makes one.")
    show_live(folders, _states(records))
    shown = _filtered(records)
    if not shown:
        return
    look = {"hide_index": True, "column_config": COLUMNS, "placeholder": ""}
    # marked rows are positions, so another selection of runs is another table, without marks
    key = f"table of {hash(tuple(record.name for record in shown))}"
    event = st.dataframe(_table(shown), on_select="rerun", selection_mode="multi-row", key=key, **look)
    _show_broken([record for record in shown if record.state == "broken"])
    st.caption("Click on a column's name to sort, mark rows to compare them.")
    _show_chosen([shown[i] for i in event.selection.rows], run_page)


@st.fragment(run_every=REFRESH)
def show_live(folders, states):
    """The runs that train; when a run begins or ends, the whole page is shown anew."""
    records = find_records(folders)
    if _states(records) != states:
        st.rerun()
    for record in records:
        if record.state == "training":
            with st.container(border=True):
                st.subheader(verbatim(record.name), anchor=False)
                show_progress(record)
                show_curves(record)


def _states(records):
    return {record.name: record.state for record in records}


def _filtered(records):
    words, states = st.columns(2)
    wanted = words.text_input("Filter", placeholder="words in a run's name, model or data").lower().split()
    chosen = states.segmented_control("State", STATES, selection_mode="multi")
    return [
        record for record in records if (not chosen or record.state in chosen) and all(word in _words(record) for word in wanted)
    ]


def _words(record):
    config = record.config
    return f"{record.name} {config.model if config else ''} {config.dataset if config else ''} {record.fault}".lower()


def _table(records):
    """{column: a value for every run}."""
    rows = [_row(record) for record in records]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _row(record):
    config, metrics = record.config, record.metrics or {}
    val = record.val_accuracy
    return {
        "run": record.name,
        "state": record.state,
        "model": config.model if config else None,
        "data": config.dataset if config else None,
        "seed": config.seed if config else None,
        "epochs": f"{record.epochs}/{config.epochs}" if config else None,
        "val accuracy": None if val is None else 100 * val,
        "val, 95 %": interval_in_words(metrics["val"]) if metrics else "",
        "test accuracy": 100 * metrics["test"]["accuracy"] if metrics else None,
        "test, 95 %": interval_in_words(metrics["test"]) if metrics else "",
        "parameters": metrics.get("params"),
        "MACs": metrics.get("macs"),
        "images/s": metrics.get("images_per_second", record.images_per_second),
        "training": duration(metrics["seconds"]) if metrics else None,
    }


def _show_broken(records):
    if records:
        with st.expander(f"{len(records)} broken", icon=":material/error:"):
            for record in records:
                st.write(f"**{verbatim(record.name)}**: {verbatim(record.fault)}")


def _show_chosen(records, run_page):
    for record in records:
        if run_page:
            st.page_link(run_page, label=f"open {verbatim(record.name)}", query_params={"run": record.name})
    comparable = [record for record in records if record.epochs]
    if comparable:
        show_compared(comparable)
    measured = [record for record in comparable if record.speed or record.metrics]
    if measured:
        show_wide(draw_rates(measured, None), "learning rates and throughput compared")
