"""LightningDataModules, and beside them the order of samples and the formats of records."""
