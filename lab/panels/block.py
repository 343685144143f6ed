"""One block of a network: a person clicks its name and sees branch, shortcut and sum, with shapes, weights and MACs."""

import streamlit as st

from lab.panels.elements import show_facts, show_figure


def show_blocks(model):
    """Show a button for each residual block of a model, and the block that is chosen."""
    from lab.reports.lesion import blocks_of

    blocks = {block.name: block for block in blocks_of(model)}
    if not blocks:
        return
    st.subheader("One block", anchor=False)
    label = "Stage and number, from the images on"
    chosen = st.segmented_control(label, list(blocks), default=next(iter(blocks)), required=True, format_func=_short, key="block")
    show_block(blocks[chosen])


def show_block(block):
    """Show a block: its diagram, and a row for each step."""
    from lab.reports.architecture_diagram import draw_block
    from lab.reports.block_steps import step_costs

    steps = step_costs(block)
    facts = {
        "reads": _shape(block.input.shape[1:]),
        "writes": _shape(block.output.shape[1:]),
        "weights of the block": f"{sum(step.weights for step in steps):,}",
        "MACs of the block": f"{sum(step.macs for step in steps):,}",
    }
    show_facts(facts)
    picture, table = st.columns((2, 3))
    with picture:
        show_figure(draw_block(block), f"the steps of {block.name}")
    table.dataframe(
        {
            "where": [step.place for step in steps],
            "step": [step.words for step in steps],
            "reads": [_shape(step.reads) for step in steps],
            "writes": [_shape(step.writes) for step in steps],
            "weights": [f"{step.weights:,}" for step in steps],
            "MACs": [f"{step.macs:,}" for step in steps],
        },
        hide_index=True,
    )


def _short(name):
    return name.removeprefix("stage").replace("_block", ".")


def _shape(shape):
    return "×".join(map(str, shape))
