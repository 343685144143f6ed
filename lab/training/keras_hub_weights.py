"""ImageNet weights of keras-hub's ResNets, under the paths of our networks' weights."""

import re

from foundation.errors import UserError, first_line
from lab.training.transfer_settings import PRESET

BLOCKS = ("basic_block", "bottleneck_block")  # block types of the networks that equal ours: those of He et al. 2015


def backbone_weights(preset):
    """Return {path: array} of a preset, such as "resnet_50_imagenet", or of a folder that holds one. Raises UserError.

    The weights fit `resnet18-224` and `resnet50-224`, which then give the same features.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise UserError(f"init_from '{PRESET}{preset}' needs the package keras-hub: make keras-hub") from error
    try:
        backbone = keras_hub.models.ResNetBackbone.from_preset(preset)
    except Exception as error:  # whatever its downloader raises: no network, no such preset, no ResNet
        if "Max retries" in str(error) or isinstance(error, ConnectionError | TimeoutError):
            why = "its servers can't be reached; with the preset in a folder, give keras-hub:FOLDER"
        else:
            why = first_line(error)
        raise UserError(f"keras-hub gives no ResNet '{preset}': {why}") from error
    if backbone.use_pre_activation or backbone.block_type not in BLOCKS:
        raise UserError(f"'{preset}' is another kind of ResNet, allowed: resnet_18_imagenet, resnet_50_imagenet")
    return {f"{_path(layer.name)}/{v.name}": v.numpy() for layer in backbone.layers for v in layer.weights}


def _path(name):
    """Return our name for a layer of keras-hub."""
    kind = "conv" if name.endswith("conv") else "norm"
    found = re.fullmatch(r"stack(\d+)_block(\d+)_(\d)_(?:conv|bn)", name)
    if not found:
        return f"stem_{kind}"
    stack, block, number = map(int, found.groups())
    return f"stage{stack + 1}_block{block + 1}/" + (f"{kind}{number}" if number else f"shortcut_{kind}")
