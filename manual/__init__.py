"""The generated parts of the manual: tables in docs/ that come from what the program declares."""

from backend import select_backend

select_backend()
