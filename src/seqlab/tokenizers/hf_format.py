"""Tokenizers written as the `tokenizer.json` of a Hugging Face folder, by the library tokenizers."""

from pathlib import Path
from typing import Any

from seqlab.files import write_json
from seqlab.tokenizers.hf import FILE, SETTINGS, import_tokenizers

END = "<|endoftext|>"
WHAT = "Writing a tokenizer.json"  # needs the library


def write_tokenizer(tokenizer: Any, folder: Path, end: str = END) -> None:
    """Write a tokenizer of the library, whose end token is `end`, and the settings with which transformers opens it."""
    tokenizer.add_special_tokens([import_tokenizers(WHAT).AddedToken(end, special=True, normalized=False)])
    tokenizer.save(str(folder / FILE))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "clean_up_tokenization_spaces": False}
    write_json(folder / SETTINGS, settings)


def build_byte_bpe(ranks: dict[bytes, int], pattern: str, special_tokens: dict[str, int]) -> Any:
    """A byte-pair encoding of tiktoken: its tokens with their ranks, the pattern that a text is split by, special tokens."""
    library = import_tokenizers(WHAT)
    letters = {byte: letter for letter, byte in bytes_of_letters().items()}
    vocabulary = {"".join(letters[byte] for byte in token): rank for token, rank in ranks.items()}
    merges = [
        tuple("".join(letters[byte] for byte in part) for part in find_merge(token, rank, ranks))
        for token, rank in sorted(ranks.items(), key=lambda item: item[1])
        if len(token) > 1
    ]
    # tiktoken looks whether the whole piece is a token before it merges
    model = library.models.BPE(vocabulary | special_tokens, merges, ignore_merges=True)
    tokenizer = library.Tokenizer(model)
    split = library.pre_tokenizers.Split(library.Regex(pattern.replace("{1,3}+", "{1,3}")), "isolated")
    as_letters = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence([split, as_letters])
    tokenizer.decoder = library.decoders.ByteLevel()
    return tokenizer


def find_merge(token: bytes, rank: int, ranks: dict[bytes, int]) -> tuple[bytes, ...]:
    """The two tokens that a token is merged from, by the merges that come before it."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        found = [ranks.get(parts[i] + parts[i + 1], rank) for i in range(len(parts) - 1)]
        best = min(range(len(found)), key=found.__getitem__)
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return tuple(parts)


def build_characters(ids: dict[str, int]) -> Any:
    """A token for each character."""
    library = import_tokenizers(WHAT)
    tokenizer = library.Tokenizer(library.models.WordLevel(ids))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = library.decoders.Fuse()
    return tokenizer


def bytes_of_letters() -> dict[str, int]:
    """The byte that each letter of GPT-2's alphabet stands for: printable ones for themselves, others from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
