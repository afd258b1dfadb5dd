"""What looks at a run: the TensorBoard logger and the callbacks that draw, write samples, count and save."""
