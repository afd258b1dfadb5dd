"""Tasks: LightningModules, one per loss and not per architecture."""
