"""Residual networks as Keras layers: convolution, norms, attention, one residual block, and the network built of them."""

from foundation.backend import select_backend

select_backend()
