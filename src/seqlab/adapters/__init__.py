"""Adapters: a frozen model with few trainable weights added, and their file format."""
