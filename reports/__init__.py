"""Tables and figures out of finished runs."""

from backend import select_backend

select_backend()
