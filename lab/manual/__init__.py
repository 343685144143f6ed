"""The generated parts of the manual: tables in docs/ that come from what the program declares."""
