"""Compares our features with those of keras-hub's network, in a process of its own: keras-hub imports TensorFlow, 0.4 GB.

    python tests/keras_hub_features.py MODEL BLOCK_TYPE FILTERS BLOCKS FOLDER

The preset is of our own making, with random statistics: keras-hub's own can't be downloaded in a test.
"""

import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from keras_hub.models import ResNetBackbone

import dispatcher
from foundation.errors import UserError
from foundation.settings import Config
from lab.training.transfer import take_weights

SIZE = (64, 64, 3)


def write_preset(folder, kind, filters, blocks):
    random = np.random.default_rng(0)
    peer = ResNetBackbone([64], [7], filters, blocks, [1, 2, 2, 2], kind, use_pre_activation=False, image_shape=SIZE)
    for variable in peer.variables:
        if variable.name != "kernel":
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    peer.save_to_preset(str(folder))
    return peer


def compare(name, kind, filters, blocks, folder):
    peer = write_preset(folder, kind, filters, blocks)
    config = replace(Config(), model=name, init_from=f"keras-hub:{folder}")
    model = dispatcher.build_model(name, SIZE, 5)
    take_weights(model, config, ("a",) * 5)
    images = np.random.default_rng(1).normal(size=(2, *SIZE)).astype("float32")
    features = keras.Model(model.inputs, model.get_layer("average_pool").output)
    expected = keras.ops.convert_to_numpy(peer(images)).mean((1, 2))
    found = keras.ops.convert_to_numpy(features(images))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    try:
        take_weights(model, replace(config, init_from="keras-hub:nowhere"), ())
    except UserError as error:
        print(error)


if __name__ == "__main__":
    name, kind, filters, blocks, folder = sys.argv[1:]
    compare(name, kind, [int(n) for n in filters.split(",")], [int(n) for n in blocks.split(",")], Path(folder))
