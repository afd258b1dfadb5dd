"""Weights in Hugging Face format. A module is a family, named by the `model_type` of its config.json."""
