"""How pictures look."""
