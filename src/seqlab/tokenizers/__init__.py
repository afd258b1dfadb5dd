"""Tokenizers: `encode(text) -> ids`, `decode(ids) -> text`, `vocab_size`, `eos_id`, `save(folder)`, `load(folder)`."""
