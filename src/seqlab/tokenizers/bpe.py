"""Byte-pair encoding (Sennrich et al., arXiv 1508.07909) on bytes, learned from the training texts."""

from collections.abc import Iterable

import tiktoken
from tiktoken_ext.openai_public import ENDOFTEXT, r50k_pat_str

from seqlab.tokenizers.encoding import EncodingTokenizer
from seqlab.tokenizers.hf import import_tokenizers
from seqlab.tokenizers.hf_format import bytes_of_letters
from seqlab.types import PositiveInt


class BPETokenizer(EncodingTokenizer):
    """At most `size` tokens and `<|endoftext|>`: 256 bytes, and what they are merged to. Every text round-trips.

    The library tokenizers learns the merges, and tiktoken encodes by them, to the same ids.
    """

    def __init__(self, texts: Iterable[str], size: PositiveInt = 4096) -> None:
        if size < 256:
            raise ValueError(f"size={size} is too small: 256 bytes are tokens already; use 256 or more.")
        library = import_tokenizers("tokenizer=bpe")
        learned, alphabet = library.Tokenizer(library.models.BPE()), library.pre_tokenizers.ByteLevel.alphabet()
        learned.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = library.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
        learned.train_from_iterator(texts, trainer)
        letters = bytes_of_letters()
        ranks = {bytes(letters[letter] for letter in token): rank for token, rank in learned.get_vocab().items()}
        special = {ENDOFTEXT: len(ranks)}
        self.set_encoding(tiktoken.Encoding("bpe", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens=special))
