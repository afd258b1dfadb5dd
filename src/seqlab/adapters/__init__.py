"""Functions on models that make them cheaper to train, and their file format."""
