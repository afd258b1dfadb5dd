"""A `tokenizer.json` as Hugging Face models come with it, by the library tokenizers."""

import json
import re
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import expand_path, read_json, write_json
from seqlab.tokenizers.base import WORD_END

FILE, SETTINGS = "tokenizer.json", "tokenizer_config.json"
TEMPLATE, TOKEN_NAMES = "chat_template.jinja", "special_tokens_map.json"
# ends of words of many kinds, before white space of many kinds
PROBE = (
    " A word, two  words\tand 12\n34 \n 5\r\nit's  don't\n\nÉté\u00a0e\u0301 x 中文 字\u3000かな\u2028١٢ ٣ _a_ b's y"
)
KEPT_FILES = (SETTINGS, TEMPLATE, TOKEN_NAMES, "generation_config.json")  # beside it


class HFTokenizer:
    """The tokenizer of a folder with its special tokens and chat template.

    A text round-trips if the tokenizer works on bytes, as those of GPT-2, Llama 3, SmolLM2 and Qwen do. Others may lose
    something, such as the space that a text begins with, and do not measure bits per byte.
    """

    def __init__(self, path: str) -> None:
        """Read the folder `path`, or the file `path` and what lies beside it."""
        self.read_files(expand_path(path))

    def read_files(self, path: Path) -> None:
        """Read the files. Raises UserError for a folder without them, or with damaged ones."""
        library = import_tokenizers("tokenizer=hf")
        self.file = file = path if path.is_file() or path.name == FILE else path / FILE
        self.folder = file.parent
        if not file.is_file():
            raise UserError(f"There is no {file}: name a folder with a {FILE} by tokenizer.path=<folder>.")
        try:
            self.tokenizer = library.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises no other type
            raise UserError(f"{file} is damaged ({error}): restore it.") from error
        self.tokenizer.no_truncation()  # which a file may bring along
        self.tokenizer.no_padding()
        self.vocab_size = 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values())
        self.eos_id = self.find_eos_id()
        self.end_ids = {self.eos_id, *self.list_model_ends()}
        self.special_ids = {i for i, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        decoder = self.tokenizer.decoder
        if decoder and "ByteLevel" in decoder_types(json.loads(decoder.__getstate__())):
            self.byte_lengths = self.count_bytes

    @cached_property
    def cut_pattern(self) -> re.Pattern | None:
        """Where a long text may be cut, if it may be."""
        return WORD_END if splits_at_word_ends(self.tokenizer) else None

    def find_eos_id(self) -> int:
        """The id of the token that ends a text, as one of the folder's files says it. Raises UserError if none does."""
        for name in (SETTINGS, TOKEN_NAMES):
            token = read_token(read_json(self.folder / name), "eos_token") if (self.folder / name).is_file() else None
            if token is not None and (found := self.tokenizer.token_to_id(token)) is not None:
                return found
        if ends := self.list_model_ends():
            return ends[0]
        raise UserError(f"{self.folder} does not say which token ends a text: write its eos_token into {SETTINGS}.")

    def list_model_ends(self) -> list[int]:
        """The ids at which the model of the folder ends a text: chat models have several."""
        for name in ("generation_config.json", "config.json"):
            said = read_json(self.folder / name).get("eos_token_id") if (self.folder / name).is_file() else None
            ids = said if isinstance(said, list) else [said]
            if known := [i for i in ids if isinstance(i, int) and self.tokenizer.id_to_token(i) is not None]:
                return known
        return []

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The ids of the text; with `special`, special tokens written out in it are tokens and not their characters."""
        self.tokenizer.encode_special_tokens = not special
        try:
            return self.tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids  # a lone text is slower
        except Exception as error:  # the library raises no other type, for a character that it does not know
            raise ValueError(f"This tokenizer cannot encode the text: {error}.") from error

    def decode(self, ids: list[int]) -> str:
        """The text of the ids; special tokens become nothing, a character that was cut in two U+FFFD."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def count_bytes(self) -> list[int]:
        """The bytes of text that each token stands for, 0 for special ones: a token on bytes has a letter for each."""
        tokens = [self.tokenizer.id_to_token(i) or "" for i in range(self.vocab_size)]
        added = self.tokenizer.get_added_tokens_decoder()
        lengths = [len(token.encode()) if i in added else len(token) for i, token in enumerate(tokens)]
        return [0 if i in self.special_ids else length for i, length in enumerate(lengths)]

    def save(self, folder: Path) -> None:
        """Copy the files that there are, and say which token ends a text."""
        shutil.copyfile(self.file, folder / FILE)
        for name in KEPT_FILES:
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)
        settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
        write_json(folder / SETTINGS, settings | {"eos_token": self.tokenizer.id_to_token(self.eos_id)})

    def save_to_hf(self, folder: Path) -> None:
        """Copy the files, without the chat template: a run is trained on prompts of another style, or on none."""
        self.save(folder)
        (folder / TEMPLATE).unlink(missing_ok=True)
        settings = read_json(folder / SETTINGS)
        settings.pop("chat_template", None)
        write_json(folder / SETTINGS, settings)

    @classmethod
    def load(cls, folder: Path) -> "HFTokenizer":
        """Read the folder."""
        return cls(str(folder))


def import_tokenizers(what: str) -> Any:
    """The library tokenizers. Raises UserError naming what needs it, if it is not installed."""
    try:
        import tokenizers
    except ModuleNotFoundError:
        raise UserError(f"{what} needs tokenizers: pip install 'seqlab[hf]'.") from None
    return tokenizers


def read_token(settings: dict[str, Any], name: str) -> str | None:
    """The text of a special token, which a folder says as it is or with its properties; None if it does not."""
    said = settings.get(name)
    text = said.get("content") if isinstance(said, dict) else said
    return text if isinstance(text, str) else None


def splits_at_word_ends(tokenizer: Any) -> bool:
    """True if a text may be cut at each end of a word without changing its tokens, as far as a probe shows.

    A tokenizer normalizes a text, splits it, and merges what each part consists of; added tokens are found before.
    """
    added = tokenizer.get_added_tokens_decoder().values()
    if tokenizer.pre_tokenizer is None or any(
        token.rstrip or token.single_word or WORD_END.search(token.content) for token in added
    ):
        return False

    def split(text: str) -> list[str]:
        normalized = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
        return [part for part, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]

    whole, cuts = split(PROBE), [found.end() for found in WORD_END.finditer(PROBE)]
    return all(split(PROBE[:cut]) + split(PROBE[cut:]) == whole for cut in cuts)


def decoder_types(decoder: dict[str, Any] | None) -> set[str]:
    """The types of a decoder and of those in it."""
    if not decoder:
        return set()
    return {decoder["type"]}.union(*map(decoder_types, decoder.get("decoders", [])))
