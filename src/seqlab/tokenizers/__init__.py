"""Tokenizers: `encode(text) -> ids`, `decode(ids) -> text`, `vocab_size`, `eos_id`, `save(folder)`, `load(folder)`.

One that learns names `texts` in its constructor: an iterator over the texts of the training split, or over those of all
splits if its class says `learns_from = "all"`. One with `byte_lengths()`, the bytes of text that each token stands for,
has its losses measured in bits per byte as well, which compares models whose tokenizers differ. One with a `cut_pattern`
encodes a text that is cut where it matches to the same ids; `encode_to_array(text)` gives ids (N,), faster.
"""
