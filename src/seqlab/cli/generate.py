"""The verb generate."""

import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqlab.cli.compose import compose_one
from seqlab.config.signatures import check_value
from seqlab.errors import UserError
from seqlab.files import expand_path, write_output
from seqlab.report.listing import find_runs
from seqlab.runs.folder import relative_to_cwd
from seqlab.serving.completions import Completion
from seqlab.serving.engine import LoadedRun, load_run
from seqlab.serving.language import continue_completions, encode_prompt, start_completions
from seqlab.serving.prompt_file import BLANK_LINE, PromptRecord, encode_record, read_prompts, take_examples
from seqlab.streams import print_wrapped, replace_control_characters
from seqlab.types import NonNegativeInt

LOAD_OPTIONS = ("checkpoint", "dtype", "init_from")
TEXT_OPTIONS = (
    "max_new_tokens",
    "min_new_tokens",
    "stop",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
)
OPTIONS = (*TEXT_OPTIONS, "logit_bias", "logprobs", "seed", "n")
FILE_OPTIONS = {"out": None, "shots": 0, "logprobs": None}  # of prompts, with what they are otherwise


def main(args: list[str]) -> int:
    """Print a prompt and what follows it, of an instruction only the answer; or write the answers to a file of prompts."""
    config = compose_one("generate", args)
    if not config:
        return 0
    refuse_trainer_keys(args)
    check_keys(config)
    run = load_language_run(config)
    options = {key: config[key] for key in OPTIONS} | {"stop": config["stop"] or []}
    if config["prompts"] is None:
        print_completions(run, read_prompt(config), str(config["input"]), options)
    else:
        keys = (run.config.get("data") or {}).get("keys")  # as in training
        examples, records = take_examples(read_prompts(str(config["prompts"]), keys), config["shots"])
        if examples and not run.prompt_style and not options["stop"]:
            options["stop"] = [BLANK_LINE]
        write_completions(run, records, examples, options, config["out"])
    return 0


def refuse_trainer_keys(args: list[str]) -> None:
    """Refuse keys of the trainer, which writes nothing. Raises UserError."""
    for arg in args:
        if re.match(r"\+*trainer\.(?!accelerator=)", arg):
            raise UserError(f"{arg} has no effect: generating uses one device, such as device=cpu; leave it out.")


def check_keys(config: dict[str, Any]) -> None:
    """Refuse keys that would have no effect. Raises UserError."""
    check_value("shots", config["shots"], NonNegativeInt)
    if (config["prompt"] is None) == (config["prompts"] is None):
        raise UserError('Give one of the two: prompt="…", or prompts=<file> with several.')
    if config["out"] and config["prompts"] and same_file(str(config["out"]), str(config["prompts"])):
        raise UserError(f"out={config['out']} is the file of the prompts: name another place.")
    if config["prompts"] is not None and config["input"]:
        raise UserError(f"input={config['input']} has no effect: in a file of prompts each record has its own.")
    for key, usual in FILE_OPTIONS.items():
        if config["prompts"] is None and config[key] != usual:
            raise UserError(f"{key}={config[key]} has no effect on one prompt: it is for prompts=<file>.")


def same_file(first: str, second: str) -> bool:
    """True for two names of one file."""
    return expand_path(first).resolve() == expand_path(second).resolve()


def load_language_run(config: dict[str, Any]) -> LoadedRun:
    """The run of a config. Raises UserError for one that is not a language model, and names one that is."""
    options = {key: config[key] for key in LOAD_OPTIONS}
    runs, accelerator = config["paths"]["runs"], config["trainer"]["accelerator"]
    run = load_run(str(config["run"]), accelerator=accelerator, runs=runs, packed=True, **options)
    if run.tokenizer is None and "window" in run.data_properties:
        raise UserError(f"{run.folder} is not a language model: {suggest_language_run(Path(runs))}.")
    return run


def read_prompt(config: dict[str, Any]) -> str:
    """The prompt of a config, or what stands on standard input."""
    return sys.stdin.read().removesuffix("\n") if config["prompt"] == "-" else str(config["prompt"])


def print_completions(run: LoadedRun, prompt: str, input: str, options: dict[str, Any]) -> None:
    """Print a text as it comes, or several one after the other."""
    completions = start_completions(run, [encode_prompt(run, prompt, input)], **options)
    begin = "" if run.prompt_style else prompt
    if len(completions) == 1:
        sys.stdout.write(begin)
        for piece in continue_completions(run, completions):
            sys.stdout.write(replace_control_characters(piece.text) if sys.stdout.isatty() else piece.text)
            sys.stdout.flush()
        sys.stdout.write("\n")
        return
    for completion in finish_in_order(run, completions):
        text = begin + completion.text
        print(f"--- seed={completion.sequence.options.seed}")
        print(replace_control_characters(text) if sys.stdout.isatty() else text, flush=True)


def write_completions(
    run: LoadedRun, records: list[PromptRecord], examples: list[PromptRecord], options: dict[str, Any], out: str | None
) -> None:
    """Write a line of JSON for each text, in the order of the prompts."""
    prompts = [encode_numbered(run, record, examples, number) for number, record in enumerate(records, 1)]
    completions = start_completions(run, prompts, **options)
    asked = [record for record in records for _ in range(options["n"])]
    with open_output(out) as file:
        for record, completion in zip(asked, finish_in_order(run, completions), strict=True):
            json.dump(describe_completion(run, record, completion), file, ensure_ascii=False)
            file.write("\n")
            file.flush()
    if out:
        print_wrapped(f"written     {relative_to_cwd(expand_path(str(out)))}")


def encode_numbered(run: LoadedRun, record: PromptRecord, examples: list[PromptRecord], number: int) -> list[int]:
    """The ids of a prompt of a file. Raises UserError that says which one."""
    try:
        return encode_record(run, record, examples)
    except UserError as error:
        fewer = f", or give fewer than shots={len(examples)}" if examples else ""
        raise UserError(f"Prompt {number}: {str(error).rstrip('.')}{fewer}.") from error


def finish_in_order(run: LoadedRun, completions: list[Completion]) -> Iterator[Completion]:
    """Each completion when it and those before it have ended, with a bar of how many have."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console, number = Console(stderr=True), 0
    columns = (TextColumn("generating "), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(completions), speed="")
        for tokens, piece in enumerate(continue_completions(run, completions), 1):
            seconds = progress.tasks[task].elapsed or 1e-9
            ended = piece.finish_reason is not None
            progress.update(task, advance=ended, speed=f"{tokens / seconds:,.0f} tokens/s")
            while number < len(completions) and completions[number].finish_reason:
                yield completions[number]
                number += 1


@contextmanager
def open_output(out: str | None) -> Iterator[Any]:
    """A file that is there once all is written, or the terminal."""
    if not out:
        yield sys.stdout
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing half-written stays
    with write_output(expand_path(str(out))) as partial, open(partial, "w", encoding="utf-8") as file:
        yield file


def describe_completion(run: LoadedRun, record: PromptRecord, completion: Completion) -> dict[str, Any]:
    """A completion as plain data."""
    sequence = completion.sequence
    found: dict[str, Any] = {"prompt": record.prompt, "input": record.input, "text": completion.text}
    found |= {"finish_reason": completion.finish_reason, "tokens": len(sequence.new_tokens)}
    found |= {"seed": sequence.options.seed} if sequence.options.temperature else {}
    if sequence.options.logprobs is not None:
        found["logprobs"] = [
            {
                "token": run.tokenizer.decode([noted.token]),
                "logprob": noted.logprob,
                "top": [[run.tokenizer.decode([token]), logprob] for token, logprob in noted.top],
            }
            for noted in sequence.logprobs
        ]
    return found


def suggest_language_run(runs_folder: Path) -> str:
    """The language model that was trained last, as what to type."""
    runs, _ = find_runs(runs_folder)
    writers = [
        run for run in runs if run.info["steps"] and (run.info["choices"] or {}).get("tokenizer", "none") != "none"
    ]
    if not writers:
        return "train one, as in seqlab train model=gpt data=verdict"
    newest = max(writers, key=lambda run: run.info["started"])
    return f"the last one is run={relative_to_cwd(newest.folder)}"
