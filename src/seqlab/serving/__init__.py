"""Using a trained run."""
