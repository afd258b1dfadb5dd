"""Many times through the one door."""
