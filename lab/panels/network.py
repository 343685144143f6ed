"""A network's diagram, parameters and multiply-accumulates; its layers one by one."""

import streamlit as st

import dispatcher
from lab.panels.block import show_blocks
from lab.panels.elements import show_facts, show_wide
from lab.runs.contents import classes_of, preprocessing_of


@st.cache_resource(max_entries=4, show_spinner="building the network")
def build(name, input_shape, classes, options):
    """Return the network of a name for images `(H, W, C)`; `options` are pairs (field of the architecture, value).

    Raises UserError for options that do not fit.
    """
    import keras

    keras.config.set_dtype_policy("float32")
    return dispatcher.build_model(name, input_shape, classes, **dict(options))


def network_of(record):
    """Return the network of a run, with any weights: what it is made of does not depend on its data's images."""
    from dispatcher import architecture_options

    config = record.config
    # of runs that stopped before training wrote this file first
    size = config.image_size or dispatcher.architecture_of(config.model).image_size
    channels = 1 if config.colour == "grey" else 3
    if (record.run.output / "preprocessing.json").is_file():
        found = preprocessing_of(record.run)
        size, channels = found["image_size"], len(found["mean"])
    return build(config.model, (size, size, channels), len(classes_of(record.run)), tuple(architecture_options(config).items()))


def show_network(model):
    from lab.reports.architecture_diagram import draw_architecture
    from models.costs import count_elements, count_macs

    facts = {
        "parameters": f"{model.count_params():,}",
        "of them trainable": f"{count_elements(model.trainable_variables):,}",
        "MACs per image": f"{count_macs(model):,}",
        "input": "×".join(map(str, model.input_shape[1:])),
    }
    show_facts(facts)
    show_wide(draw_architecture(model, model.name), f"the stages and blocks of {model.name}")
    show_blocks(model)
    _show_costs(model)
    _show_layers(model)


def _show_costs(model):
    from models.costs import MAC_KINDS, costs_of

    costs = {kind: cost for kind, cost in costs_of(model).items() if cost.operations or cost.parameters}
    st.subheader("Cost of one image, by kind of layer", anchor=False)
    st.dataframe(
        {
            "kind": list(costs),
            "parameters": [f"{cost.parameters:,}" for cost in costs.values()],
            "MACs": [f"{cost.operations:,}" if kind in MAC_KINDS else "-" for kind, cost in costs.items()],
            "other operations": ["-" if kind in MAC_KINDS else f"{cost.operations:,}" for kind, cost in costs.items()],
            "values written": [f"{cost.activations:,}" for cost in costs.values()],
        },
        hide_index=True,
    )


def _show_layers(model):
    st.subheader("Layers", anchor=False)
    st.dataframe(
        {
            "layer": [layer.name for layer in model.layers],
            "kind": [type(layer).__name__ for layer in model.layers],
            "output": ["×".join(map(str, layer.output.shape[1:])) for layer in model.layers],
            "parameters": [f"{layer.count_params():,}" for layer in model.layers],
        },
        hide_index=True,
    )
