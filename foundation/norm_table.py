"""The norms that a network can have, one row each; `models.norms` holds the layer of each name. Imports no library."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NormRow:
    """Facts about a norm that are known before it is built."""

    weights: int  # for each channel, moving statistics among them
    has_groups: bool = False  # whether `norm_groups` is its own
    has_activation: bool = False  # it applies one of its own, where another norm is followed by the network's
    activation_weights: int = 0  # that this activation has besides, for each channel


NORM_TABLE = {
    "batch": NormRow(4),
    "batch-scratch": NormRow(4),
    "instance": NormRow(2),
    "batch-instance": NormRow(5),
    "layer": NormRow(2),
    "group": NormRow(2, has_groups=True),
    "evonorm-s0": NormRow(2, has_groups=True, has_activation=True, activation_weights=1),
    "none": NormRow(1),
}
