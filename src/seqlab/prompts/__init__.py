"""Prompts: how messages become token ids and a loss mask, in one way for training, generation and evaluation."""
