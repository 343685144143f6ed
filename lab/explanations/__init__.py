"""Class activation maps of trained networks, their measurement, and pages that show them."""
