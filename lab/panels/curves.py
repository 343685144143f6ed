"""The curves of one run, and how far it is while it trains."""

from functools import partial

import streamlit as st

from callbacks.monitor import READING, labels_of_train, plot_accuracies, plot_losses
from foundation.grammar import counted
from foundation.style import legend_below, sheet
from lab.panels.elements import show_facts, show_figure, shown_duration, shown_share

REFRESH = 2.0  # seconds between two looks at runs that train


def show_curves(record):
    """Loss and accuracy side by side, on a narrow window one below the other."""
    if not record.epochs:
        st.info("No epoch has ended yet.")
        return
    count = counted(record.epochs, "epoch")
    plots = {
        "accuracy": partial(plot_accuracies, best_epoch=record.best_epoch),
        "loss": partial(plot_losses, train_labels=labels_of_train(record.config)),
    }
    for column, (name, plot) in zip(st.columns(2), plots.items(), strict=True):
        figure = sheet(5.6, 3.6)
        axes = figure.subplots()
        plot(axes, record.history)
        legend_below(figure, axes)
        with column:
            show_figure(figure, f"{name} of {record.name} after {count}")
    st.caption(READING)


def show_progress(record):
    """Epochs, time left, images per second, accuracy."""
    total = record.config.epochs
    st.progress(min(record.epochs / total, 1.0), f"epoch {record.epochs} of {total}")
    accuracies = record.history.get("val_accuracy", [])
    speed = record.images_per_second
    facts = {
        "time left, at most": shown_duration(record.seconds_left()),
        "images per second": "-" if speed is None else f"{speed:,.0f}",
        "val accuracy": shown_share(accuracies[-1] if accuracies else None),
    }
    show_facts(facts)
