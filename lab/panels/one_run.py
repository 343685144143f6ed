"""One run: settings, curves, confusion, gradient flow, its network."""

import streamlit as st

from foundation.errors import UserError
from foundation.settings import SETTINGS
from lab.panels.confusion import show_confusion
from lab.panels.curves import REFRESH, show_curves, show_progress
from lab.panels.elements import (
    begin,
    choose_record,
    guarded,
    say_fault,
    show_facts,
    show_wide,
    shown_duration,
    shown_share,
    shown_text,
    verbatim,
)
from lab.panels.network import network_of, show_network
from lab.panels.records import find_records
from lab.reports.curves import draw_rates
from lab.reports.flow import QUANTITIES, draw_flow
from lab.runs.contents import SPLITS, environments_of, flow_of
from lab.training.evaluation import describe_overlap, read_overlap
from lab.training.metrics_table import interval_in_words


@guarded
def show(folders):
    begin("One run")
    record = choose_record(find_records(folders))
    if record is None:
        st.info(f"No run in {verbatim(folders.output)} yet: `python train.py` makes one.")
        return
    if record.state == "broken":
        say_fault(f"This run is broken: {record.fault}")
        return
    part = st.segmented_control("Part", list(PARTS), default="Curves", required=True, key="part", bind="query-params")
    PARTS[part](folders, record)


def _show_curves(folders, record):
    if record.state == "training":
        _show_live(folders, record.name)
        return
    _show_results(record)
    show_curves(record)
    if record.epochs and (record.speed or record.metrics):
        show_wide(draw_rates([record], None), "learning rate and throughput")


@st.fragment(run_every=REFRESH)
def _show_live(folders, name):
    found = [record for record in find_records(folders) if record.name == name]
    if not found or found[0].state != "training":
        st.rerun()
    show_progress(found[0])
    show_curves(found[0])


def _show_results(record):
    if not record.metrics:
        st.info(f"Stopped after {record.epochs} of {record.config.epochs} epochs: the command that began it goes on.")
        return
    metrics = record.metrics
    facts = {f"{split} accuracy": shown_share(metrics[split]["accuracy"]) for split in SPLITS}
    facts |= {
        "macro F1, test": f"{metrics['test']['f1_macro']:.4f}",
        "best epoch": f"{metrics['best_epoch']} of {metrics['epochs']}",
        "training": shown_duration(metrics["seconds"]),
    }
    intervals = {f"{split} accuracy": interval_in_words(metrics[split]) for split in SPLITS}
    show_facts(facts, {name: f"95 %: {interval}" for name, interval in intervals.items() if interval})
    overlap = read_overlap(record.run)
    if overlap is not None:
        st.caption(verbatim(describe_overlap(overlap, metrics)))


def _show_settings(folders, record):
    """Those that differ from the defaults first."""
    values = {name: getattr(record.config, name) for name in SETTINGS}
    shown = sorted(SETTINGS.values(), key=lambda each: values[each.name] == each.shipped)
    columns = {
        "setting": [each.name for each in shown],
        "value": [shown_text(values[each.name]) for each in shown],
        "default": [shown_text(each.shipped) for each in shown],
        "": ["changed" if values[each.name] != each.shipped else "" for each in shown],
        "meaning": [each.sentence for each in shown],
    }
    st.dataframe(columns, hide_index=True, height=600)
    try:
        environments = environments_of(record.run)
    except UserError:
        return
    st.subheader("Computed with", anchor=False)
    for environment in environments:
        st.json(environment)


def _show_flow(folders, record):
    if not (record.run.output / "flow.json").is_file():
        st.info("This run recorded no gradients: train one with `--track-gradients`.")
        return
    flow = flow_of(record.run)
    chosen = st.segmented_control(
        "Of every layer",
        list(QUANTITIES),
        default="gradient_norm",
        format_func=QUANTITIES.__getitem__,
        required=True,
        key="quantity",
    )
    show_wide(draw_flow({record.name: flow}, chosen), QUANTITIES[chosen])


def _show_network(folders, record):
    show_network(network_of(record))


PARTS = {
    "Curves": _show_curves,
    "Settings": _show_settings,
    "Confusion": show_confusion,
    "Gradient flow": _show_flow,
    "Network": _show_network,
}
