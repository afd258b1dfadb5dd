"""Weights: where they come from, and how they are put into a model."""
