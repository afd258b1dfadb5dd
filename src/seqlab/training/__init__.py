"""Training: the story of a run, its Trainer, optimizers and learning-rate schedules."""
