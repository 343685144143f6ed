"""Class activation maps of trained networks, their measurement, and pages that show them."""

from backend import select_backend

select_backend()
