"""Keras callbacks: learning rate, weight averaging, early stopping, checkpoints, training monitor, progress, interruption.

A callback that must survive a restart has `get_state()` and `set_state(state)`; the state is plain JSON.
"""
