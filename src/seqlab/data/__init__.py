"""Data: LightningDataModules, and the resumable order of their samples."""
