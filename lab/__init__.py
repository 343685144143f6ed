"""The rooms above models, data and callbacks: training, runs, and the questions that are asked of them."""

from foundation.backend import select_backend

select_backend()
