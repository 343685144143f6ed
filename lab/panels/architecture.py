"""The networks that there are: diagram, parameters, multiply-accumulates."""

from typing import get_args

import streamlit as st

import dispatcher
from foundation.settings import SETTINGS
from lab.panels.elements import begin, guarded
from lab.panels.network import build, show_network

CHANGES = ("norm", "attention", "shortcut")  # the settings that can be changed here


@guarded
def show(folders):
    begin("Architecture")
    names = dispatcher.list_models()
    first, *others = st.columns((2, 1, 1))
    name = first.selectbox("Model", names, index=names.index("resnet20"), key="model", bind="query-params")
    size = others[0].number_input("Pixels a side", 8, 512, dispatcher.architecture_of(name).image_size, key=f"pixels of {name}")
    classes = others[1].number_input("Classes", 2, 10_000, 10)
    chosen = {}
    for column, part in zip(st.columns(len(CHANGES)), CHANGES, strict=True):
        chosen[part] = column.selectbox(
            part.capitalize(), get_args(SETTINGS[part].type), format_func=_words, help=SETTINGS[part].sentence
        )
    options = tuple((part, value) for part, value in chosen.items() if value != "default")
    show_network(build(name, (size, size, 3), classes, options))


def _words(value):
    return "the model's own" if value == "default" else value
