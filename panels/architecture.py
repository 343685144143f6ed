"""The networks that there are: diagram, parameters, multiply-accumulates."""

import streamlit as st

import dispatcher
from panels.elements import guarded
from panels.network import build, show_network

# What of a model can be changed here; the first value of each is the model's own.
CHANGES = {
    "norm": ("the model's own", "batch", "instance", "batch-instance", "layer", "group", "none"),
    "attention": ("the model's own", "none", "se", "cbam"),
    "shortcut": ("the model's own", "projection", "zero", "pool", "none"),
}


@guarded
def show(folders):
    st.title("Architecture")
    names = dispatcher.list_models()
    first, *others = st.columns((2, 1, 1))
    name = first.selectbox("Model", names, index=names.index("resnet20"), key="model", bind="query-params")
    size = others[0].number_input("Pixels a side", 8, 512, dispatcher.architecture_of(name).image_size, key=f"pixels of {name}")
    classes = others[1].number_input("Classes", 2, 10_000, 10)
    chosen = {}
    for column, (part, values) in zip(st.columns(len(CHANGES)), CHANGES.items(), strict=True):
        chosen[part] = column.selectbox(part.capitalize(), values)
    options = tuple((part, value) for part, value in chosen.items() if value != CHANGES[part][0])
    show_network(build(name, (size, size, 3), classes, options))
