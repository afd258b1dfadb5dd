"""The run folder as a format: names, run.json, files written atomically. Knows no Lightning."""
