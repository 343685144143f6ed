"""Networks that others in a comparison have no twin of: told before Keras or PyTorch is imported."""

from foundation.errors import UserError


def check_twins(architecture):
    """Raise a UserError if a network lacks a twin that throughput is compared with."""
    check_stock_twin(architecture)
    check_torch_twin(architecture)


def check_stock_twin(architecture):
    """Raise a UserError if no twin of a network is written in stock Keras layers."""
    a = architecture
    if a.attention != "none" or a.norm != "batch" or a.stochastic_depth or a.stem not in ("conv", "conv-norm"):
        raise UserError("no stock Keras twin is written of networks with attention, stochastic depth, other norms or large stems")


def check_torch_twin(architecture):
    """Raise a UserError if no twin of a network is written in PyTorch."""
    a = architecture
    if a.attention == "cbam" or a.norm != "batch" or a.stochastic_depth or a.stem == "deep":
        raise UserError("no hand-written network has CBAM, stochastic depth, other norms than batch or deep stems")
