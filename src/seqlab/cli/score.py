"""The verb score."""

from typing import Any

from seqlab.cli.compose import compose_one
from seqlab.cli.generate import load_language_run, refuse_trainer_keys
from seqlab.cli.tables import format_cell, print_table
from seqlab.config.signatures import check_value
from seqlab.data.readers import TextReader
from seqlab.errors import UserError
from seqlab.files import expand_path
from seqlab.serving.engine import LoadedRun
from seqlab.serving.score import Score
from seqlab.streams import replace_control_characters

SHOWN = 26  # characters of a text in a table


def main(args: list[str]) -> int:
    """Print how likely texts are: a line for each, or with `detail` for each token."""
    refuse_trainer_keys(args)
    config = compose_one("score", args)
    if not config:
        return 0
    check_value("detail", config["detail"], bool)
    texts = read_texts(config)
    run = load_language_run(config)
    scores = [run.score(text, config["stride"]) for text in texts]
    if config["detail"]:
        for score in scores:
            print_tokens(run, score)
    titles = ["text", "scored", "log-probability", "perplexity", "bits per byte"]
    names = [shorten_text(f"{number}. {text}" if len(texts) > 1 else text) for number, text in enumerate(texts, 1)]
    rows = [[name, *describe_score(score)] for name, score in zip(names, scores, strict=True)]
    print_table(titles, rows, text_columns=1)
    return 0


def read_texts(config: dict[str, Any]) -> list[str]:
    """The text of a config, or the documents of its file. Raises UserError."""
    if (config["text"] is None) == (config["file"] is None):
        raise UserError('Give one of the two: text="…", or file=<file>.')
    if config["text"] is not None:
        return [str(config["text"])]
    file = expand_path(str(config["file"]))
    if not file.is_file():
        raise UserError(f"file={file} does not exist: name a text, or records with a text under the key text.")
    return ["".join(pieces) for pieces in TextReader().read_documents(file)]


def describe_score(score: Score) -> list[str]:
    """The numbers of a text."""
    values = (score.logprob, score.perplexity, score.bits_per_byte)
    return [f"{len(score.logprobs):,}", *map(format_cell, values)]


def print_tokens(run: LoadedRun, score: Score) -> None:
    """A line for each token."""
    texts = [run.tokenizer.decode([token]) for token in score.tokens]
    values = ["", *(f"{logprob:.4f}" for logprob in score.logprobs)]
    rows = [[str(token), repr(text), value] for token, text, value in zip(score.tokens, texts, values, strict=True)]
    print_table(["token", "text", "log-probability"], rows, text_columns=2)
    print()


def shorten_text(text: str) -> str:
    """The beginning of a text, on one line."""
    line = replace_control_characters(" ".join(text.split()))
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
