"""Training a run: the story, and learning-rate schedules."""
