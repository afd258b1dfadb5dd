"""What a config may say: groups and options, targets, signatures, validation."""
