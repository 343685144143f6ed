"""The pages of the dashboard, a file for each, on what runs left. Nothing here writes."""
