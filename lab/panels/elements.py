"""Elements that several pages share: figures, choices of runs, foreign text."""

import streamlit as st

from foundation.errors import UserError, is_of_the_system, one_line, printable, unknown
from foundation.escaping import for_streamlit as verbatim
from foundation.grammar import duration
from foundation.style import image_of
from lab.reports.page import picture

# Streamlit leaves 6 rem above a page's title; the menu needs less than 4 of them.
ABOVE = "<style>[data-testid=stMainBlockContainer] {padding-top: 3.75rem}</style>"
SCROLLING = "<style>.wide {overflow-x: auto} .wide img {max-width: 100%; min-width: 42rem}</style>"


def show_figure(figure, name):
    """Show a figure as wide as its column."""
    st.image(image_of(figure, "png"), width="stretch", alt=name)


def show_wide(figure, name):
    """Show a figure of several parts, which scrolls if the window is narrow."""
    st.html(f'{SCROLLING}<div class="wide">{picture(name, image_of(figure, "png", dpi=110))}</div>')


def show_facts(facts, beneath=None):
    """Show short texts under their names, side by side as far as there is room; `beneath` has a smaller text for some of them."""
    beneath = beneath or {}
    with st.container(horizontal=True, gap="medium"):
        for name, value in facts.items():
            st.metric(name, value, beneath.get(name) or None, delta_color="off", delta_arrow="off", width="content")


def begin(title):
    """Show the title of a page."""
    st.html(ABOVE)
    st.title(title)


def choose_record(records, label="Run"):
    """Return the run that a person chooses, which the address remembers; None if there are no runs.

    If the address names a run that is not among them, a line says so.
    """
    if not records:
        return None
    by_name = {record.name: record for record in records}
    check_address("run", by_name)
    return by_name[st.selectbox(label, list(by_name), key="run", bind="query-params")]


def say_fault(error):
    """Show a user's mistake or a damaged file as one line."""
    st.error(verbatim(one_line(error)), icon=":material/error:")


def check_address(key, names):
    """Say in one line if the page's address asks for what there is not, as "run" or "study"."""
    if (asked := st.query_params.get(key)) and asked not in names:
        say_fault(unknown(key, asked, list(names)))


def guarded(page):
    """Return the page function, changed to show a UserError as its one line, and so a fault of the disk."""

    def show(*arguments):
        try:
            page(*arguments)
        except (UserError, OSError) as error:
            if not isinstance(error, UserError) and not is_of_the_system(error):
                raise
            say_fault(error)

    return show


def shown_text(text) -> str:
    """Return a text for a table's cell, which Streamlit shows as it is."""
    return printable(str(text)[:500])


def shown_duration(seconds) -> str:
    return "-" if seconds is None else duration(seconds)


def shown_share(share) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
