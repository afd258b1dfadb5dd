"""Evaluation: metrics of a trained run."""
