"""Pure torch modules, which know no Lightning, no Hydra and no file."""
