"""Architectures that the other contestants of a comparison are written for: told before Keras or PyTorch is imported.

For each part of an architecture the values that a twin has. A part that is not listed must have its default, so that no new part
is left out silently.
"""

from dataclasses import fields

from foundation.errors import UserError
from models.architecture import PARTS, Architecture

ANY = None
SIZES = dict.fromkeys(("blocks", "filters", "stem_filters", "bottleneck", "groups", "epsilon", "image_size"), ANY)
WITH_PROJECTIONS = {"has_study_shortcut": ANY, "projects_every_stage": ANY, "norm_groups": ANY}  # groups: no twin has group norm
# The hand-written networks pad as PyTorch does, on all sides, whatever the padding: it costs the same.
WRITTEN = SIZES | WITH_PROJECTIONS | PARTS
WRITTEN |= {"norm": ("batch",), "attention": ("none", "se"), "activation": ("relu", "mish", "silu", "gelu")}


def check_twins(architecture):
    """Raise a UserError if the network in stock Keras layers, or that in PyTorch, would be another one."""
    for field in fields(Architecture):
        allowed, value = WRITTEN.get(field.name, (field.default,)), getattr(architecture, field.name)
        if allowed is not ANY and value not in allowed:
            shown = ", ".join(map(str, allowed))
            raise UserError(f"no twin of a network with {field.name} {value!r} is written, allowed: {shown}")
