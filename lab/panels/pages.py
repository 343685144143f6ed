"""Which pages there are."""

from functools import partial

import streamlit as st
from PIL import Image

from foundation.style import TRAIN
from lab.panels import architecture, explain, one_run, runs, studies
from lab.panels.records import Folders


def show(arguments):
    """The page that the browser asks for, with a menu of all."""
    folders = Folders(arguments.output_dir, arguments.weights_dir)
    # an icon of its own: Streamlit would fetch those that have names from the net
    st.set_page_config(page_title="Reslab", page_icon=Image.new("RGB", (32, 32), TRAIN), layout="wide")
    run = _page(one_run, folders, title="One run", url_path="run", icon=":material/monitoring:")
    # a page that is the default has no path of its own
    all_runs = _page(runs, folders, run, title="Runs", url_path="runs", icon=":material/list:")
    pages = [
        st.Page(lambda: st.switch_page(all_runs), title="Start", default=True, visibility="hidden"),
        all_runs,
        run,
        _page(studies, folders, title="Studies", url_path="studies", icon=":material/quiz:"),
        _page(explain, folders, title="Explain", url_path="explain", icon=":material/visibility:"),
        _page(architecture, folders, title="Architecture", url_path="architecture", icon=":material/account_tree:"),
    ]
    st.navigation(pages, position="top").run()


def _page(module, *arguments, **look):
    return st.Page(partial(module.show, *arguments), **look)
