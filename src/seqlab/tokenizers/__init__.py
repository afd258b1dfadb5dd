"""Tokenizers: `encode(text) -> ids`, `decode(ids) -> text`, `vocab_size`, `eos_id`, `save(folder)`, `load(folder)`.

One that has `byte_lengths() -> the bytes of text that each token stands for` gets its losses in bits per byte, too, which
compare models whose tokenizers differ.
"""
