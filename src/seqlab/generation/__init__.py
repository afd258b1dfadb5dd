"""Sampling from a language model: plain functions on a model and token ids."""
