"""One table: verb -> what it does, and the module that is imported when it is called."""

import sys
from importlib import import_module

from seqlab.cli.help import print_help
from seqlab.errors import UserError, did_you_mean, run_cli
from seqlab.launch.imports import gc_paused, limit_spinning
from seqlab.streams import prepare_streams

VERBS = {
    "train": ("compose a run and train it; -m sweeps over comma lists", "seqlab.cli.train"),
    "tokenize": ("encode a data set into the cache, as train does", "seqlab.cli.tokenize"),
    "evaluate": ("measure a run on a split of its data, or of other data", "seqlab.cli.evaluate"),
    "report": ("rank the runs of a sweep: results.csv, results.md, figures", "seqlab.cli.report"),
    "runs": ("list runs; filter and sort them by key=value", "seqlab.cli.runs"),
    "diff": ("compare two runs: config, code, data, versions, metrics", "seqlab.cli.diff"),
    "reproduce": ("run a finished run again, and compare the metrics bit for bit", "seqlab.cli.reproduce"),
    "export": ("write a run as a folder in Hugging Face format", "seqlab.cli.export"),
    "forecast": ("roll a run forward from the end of its series", "seqlab.cli.forecast"),
    "generate": ("continue a prompt, or a file of them, with a run's model", "seqlab.cli.generate"),
    "chat": ("talk with a run in the terminal", "seqlab.cli.chat"),
    "serve": ("answer requests over HTTP, as OpenAI's API, and on a page", "seqlab.cli.serve"),
    "score": ("how likely texts are to a run's model", "seqlab.cli.score"),
}

SIGNS = {
    "train": "composing …",
    "tokenize": "composing …",
    "reproduce": "composing …",
    "evaluate": "loading …",
    "generate": "loading …",
    "chat": "loading …",
    "score": "loading …",
    "serve": "loading …",
    "export": "loading …",
    "forecast": "loading …",
}


def main(args: list[str] | None = None) -> int:
    """The console script `seqlab`; returns its exit status."""
    args = sys.argv[1:] if args is None else args
    prepare_streams()
    limit_spinning()
    return run_cli(lambda: dispatch(args))


def dispatch(args: list[str]) -> int:
    """Find the verb and give it the other arguments."""
    descriptions = {verb: text for verb, (text, _) in VERBS.items()}
    if args[:1] == ["help"] and len(args) == 2 and args[1] in VERBS:
        args = [args[1], "--help"]
    if not args or args[0] in ("-h", "--help", "help"):
        print_help(None, descriptions)
        return 0
    verb, *rest = args
    if verb == "--version":
        print(import_module("seqlab").__version__)
        return 0
    if verb not in VERBS:
        raise UserError(
            f"seqlab has no verb {verb}.{did_you_mean(verb, VERBS)} Type seqlab --help to see what it can do."
        )
    if any(arg in ("-h", "--help") for arg in rest):
        folders = import_module("seqlab.cli.overrides").get_config_folders(
            [a for a in rest if a not in ("-h", "--help")]
        )
        print_help(verb, descriptions, folders)
        return 0
    if verb in SIGNS and sys.stderr.isatty():
        print(SIGNS[verb], file=sys.stderr, flush=True)  # before imports that take seconds
    with gc_paused():
        module = import_module(VERBS[verb][1])
    return module.main(rest)
