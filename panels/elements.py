"""Elements that several pages share: figures, choices of runs, foreign text."""

import streamlit as st

from callbacks.progress import duration
from errors import UserError, one_line, printable
from escaping import for_streamlit as verbatim
from reports.page import picture
from training.run import image_of

SCROLLING = "<style>.wide {overflow-x: auto} .wide img {max-width: 100%; min-width: 42rem}</style>"


def show_figure(figure, name):
    """Show a figure as wide as its column."""
    st.image(image_of(figure, "png"), width="stretch", alt=name)


def show_wide(figure, name):
    """Show a figure of several parts, which scrolls if the window is narrow."""
    st.html(f'{SCROLLING}<div class="wide">{picture(name, image_of(figure, "png", dpi=110))}</div>')


def show_facts(facts):
    """Show short texts under their names, side by side as far as there is room."""
    with st.container(horizontal=True, gap="medium"):
        for name, value in facts.items():
            st.metric(name, value, width="content")


def choose_record(records, label="Run"):
    """Return the run that a person chooses, which the address remembers; None if there are no runs."""
    if not records:
        return None
    by_name = {record.name: record for record in records}
    return by_name[st.selectbox(label, list(by_name), key="run", bind="query-params")]


def say_fault(error):
    """Show a user's mistake or a damaged file as one line."""
    st.error(verbatim(one_line(error)), icon=":material/error:")


def guarded(page):
    """Return the page function, changed to show a UserError as its one line."""

    def show(*arguments):
        try:
            page(*arguments)
        except UserError as error:
            say_fault(error)

    return show


def shown_text(text):
    """Return a text for a table's cell, which Streamlit shows as it is."""
    return printable(str(text)[:500])


def shown_duration(seconds):
    return "-" if seconds is None else duration(seconds)


def shown_share(share):
    return "-" if share is None else f"{100 * share:.2f} %"
