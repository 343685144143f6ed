"""Keras callbacks: learning rate, weight averaging, early stopping, checkpoints, training monitor, progress, interruption.

A callback that must survive a restart has `get_state()` and `set_state(state)`; the state is plain JSON.
Its `needs_state` says why a run can't go on without that state, which checkpoints of earlier versions may lack; empty: it can.
"""

from foundation import keras_defaults  # noqa: F401  selects the backend; no keras.json is obeyed
