"""Keras' own settings, set in code: a `keras.json`, wherever KERAS_HOME leads, decides nothing here.

Keras reads that file when it is imported; this module is imported beside it, before any layer, metric or tensor is made.
`channels_first` there would pool over other axes than those that layers of this project give, `float16` would round metrics, and
a limit of epochs or steps would end trainings early.
"""

from foundation.backend import check_backend

check_backend()

import keras  # noqa: E402  after the backend is selected

keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_max_epochs(None)
keras.config.set_max_steps_per_epoch(None)
keras.config.set_dtype_policy("float32")  # made from floatx where it was asked for before
