"""LightningModules, one per loss."""
