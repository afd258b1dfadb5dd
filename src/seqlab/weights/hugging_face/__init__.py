"""Weights in Hugging Face format, one module per family."""
