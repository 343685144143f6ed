"""`python -m lab.exporting.savedmodel SOURCE TARGET`, on TensorFlow: a .keras file of this project as a SavedModel."""

import sys


def main(source, target):
    import keras

    import models.network  # noqa: F401  registers the layers

    keras.saving.load_model(source, compile=False).export(target, format="tf_saved_model", verbose=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
