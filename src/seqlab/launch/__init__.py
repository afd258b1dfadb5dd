"""One run: its folder is created, planned, run and reproduced."""
