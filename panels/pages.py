"""Which pages there are."""

from functools import partial

import streamlit as st
from PIL import Image

from figures.style import TRAIN
from panels import architecture, explain, one_run, runs, studies
from panels.records import Folders


def show(arguments):
    """The page that the browser asks for, with a menu of all."""
    folders = Folders(arguments.output_dir, arguments.weights_dir)
    # an icon of its own: Streamlit would fetch those that have names from the net
    st.set_page_config(page_title="Reslab", page_icon=Image.new("RGB", (32, 32), TRAIN), layout="wide")
    run = st.Page(partial(one_run.show, folders), title="One run", url_path="run", icon=":material/monitoring:")
    st.navigation(
        [
            st.Page(partial(runs.show, folders, run), title="Runs", url_path="runs", icon=":material/list:", default=True),
            run,
            st.Page(partial(studies.show, folders), title="Studies", url_path="studies", icon=":material/quiz:"),
            st.Page(partial(explain.show, folders), title="Explain", url_path="explain", icon=":material/visibility:"),
            st.Page(architecture.show, title="Architecture", url_path="architecture", icon=":material/account_tree:"),
        ],
        position="top",
    ).run()
