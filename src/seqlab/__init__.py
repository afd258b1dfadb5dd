"""seqlab: a laboratory for sequence models, composed by Hydra and trained by Lightning."""

__version__ = "0.1.0"
