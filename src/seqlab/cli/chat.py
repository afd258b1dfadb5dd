"""The verb chat: a terminal to talk in."""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqlab.cli.compose import compose_one
from seqlab.cli.generate import load_language_run, refuse_trainer_keys
from seqlab.cli.help import format_row
from seqlab.config.signatures import check_arguments
from seqlab.errors import UserError, did_you_mean
from seqlab.files import expand_path, write_output
from seqlab.generation.next_token import SamplingOptions
from seqlab.prompts.styles import Message
from seqlab.runs.folder import relative_to_cwd
from seqlab.serving.chat import check_conversation, start_answers
from seqlab.serving.engine import LoadedRun
from seqlab.serving.language import continue_completions, read_options
from seqlab.streams import WordWrapper, print_wrapped, replace_control_characters

OPTIONS = ("max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")
QUOTES = '"""'
HELP = {
    "/reset": "begin a new conversation",
    "/retry": "answer the last message again",
    "/save chat.json": "write the conversation to a file",
    "/system You are …": "say how it should answer, in a new conversation",
    "/set temperature=0.7": f"change {', '.join(OPTIONS)}",
    "/help": "these lines",
    "/quit": "leave, as Ctrl-D does",
    QUOTES: "begins and ends a message of several lines",
    "Ctrl-C": "stops an answer",
}


def main(args: list[str]) -> int:
    """Talk with a run until the input ends."""
    refuse_trainer_keys(args)
    config = compose_one("chat", args)
    if not config:
        return 0
    run = load_language_run(config)
    check_conversation(run)
    check_options(run, {key: config[key] for key in OPTIONS})
    conversation = Conversation(run, str(config["system"] or ""), {key: config[key] for key in OPTIONS})
    print_wrapped(f"run         {relative_to_cwd(run.folder)}")
    if not run.prompt_style:
        print_wrapped("style       a plain transcript, since this run was not trained on conversations")
    print_wrapped("help        /help")
    while (message := read_message()) is not None:
        try:
            if not conversation.handle(message):
                break
        except UserError as error:  # the conversation continues
            print_wrapped(str(error))
    return 0


def read_message() -> str | None:
    """What is typed next, several lines between quotes; None at the end of the input."""
    is_terminal = sys.stdin.isatty()
    lines: list[str] = []
    while True:
        try:
            line = input(("… " if lines else "> ") if is_terminal else "")
        except EOFError:
            print()
            return "\n".join(lines) or None
        except KeyboardInterrupt:
            print("\n(Ctrl-D or /quit leaves)")
            lines = []
            continue
        is_open = bool(lines) or line.startswith(QUOTES)
        lines.append(line)
        text = "\n".join(lines)
        if not is_open:
            return text
        if text.count(QUOTES) >= 2:
            return " " + text.strip().removeprefix(QUOTES).removesuffix(QUOTES).strip("\n")  # not a command


def check_options(run: LoadedRun, options: dict[str, Any]) -> None:
    """Refuse options that do not go together; the seed is that of answers which are drawn. Raises UserError."""
    read_options(run, {key: value for key, value in options.items() if options["temperature"] or key != "seed"})


class Conversation:
    """What was said so far, and how answers are drawn."""

    def __init__(self, run: LoadedRun, system: str, options: dict[str, Any]) -> None:
        self.run, self.system, self.options = run, system, options
        self.messages: list[Message] = []
        self.retries = 0
        self.commands: dict[str, Callable[[str], None]] = {
            "/reset": self.reset,
            "/retry": self.retry,
            "/save": self.save,
            "/system": self.set_system_message,
            "/set": self.set_option,
            "/help": self.print_help,
        }

    def handle(self, text: str) -> bool:
        """Answer a message, or obey a command; false to leave. Raises UserError."""
        command, _, rest = text.rstrip().partition(" ")
        if command in ("/quit", "/exit"):
            return False
        if command in self.commands:
            self.commands[command](rest.strip())
        elif re.fullmatch(r"/[a-z]+", command):
            raise UserError(
                f"{command} is not a command.{did_you_mean(command, [*self.commands, '/quit'])} /help lists them."
            )
        elif text.strip():
            self.retries = 0
            self.answer(text.strip())
        return True

    def answer(self, text: str) -> None:
        """Print the answer to a message as it comes, and remember both; Ctrl-C ends it where it is."""
        opening = [Message("system", self.system)] if self.system else []
        asked = [*self.messages, Message("user", text)]
        seed = {"seed": self.options["seed"] + self.retries} if self.options["temperature"] else {"seed": 0}
        (completion,), left_out = start_answers(self.run, [*opening, *asked], **self.options | seed)
        if left_out:
            print_wrapped(f"({left_out} older messages do not fit into the context any more)")
        stopped = ""
        wrapper, start = WordWrapper(sys.stdout), time.perf_counter()
        pieces = continue_completions(self.run, [completion])
        try:
            for piece in pieces:
                wrapper.write(replace_control_characters(piece.text))
        except KeyboardInterrupt:
            pieces.close()
            stopped = ", stopped"
        wrapper.finish()
        seconds, count = time.perf_counter() - start, len(completion.sequence.new_tokens)
        print(f"({count} tokens, {count / seconds:.1f} tokens/s{stopped})")
        self.messages = [*asked, Message("assistant", completion.text.strip())]

    def reset(self, rest: str) -> None:
        """Forget what was said."""
        self.messages = []
        print_wrapped("A new conversation.")

    def set_system_message(self, rest: str) -> None:
        """Begin anew with another system message."""
        self.system = rest
        self.reset("")

    def retry(self, rest: str) -> None:
        """Answer the last message again, with the next seed. Raises UserError if there is none."""
        if not self.messages:
            raise UserError("There is no message to answer again: type one.")
        before, last = self.messages, self.messages[-2].content
        self.messages, self.retries = before[:-2], self.retries + 1
        try:
            self.answer(last)
        except UserError:
            self.messages = before
            raise

    def save(self, rest: str) -> None:
        """Write the messages as JSON. Raises UserError without a name."""
        if not rest:
            raise UserError("/save needs a name: /save chat.json.")
        opening = [Message("system", self.system)] if self.system else []
        said = [{"role": message.role, "content": message.content} for message in [*opening, *self.messages]]
        path = expand_path(rest)
        with write_output(path) as partial:
            Path(partial).write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        print_wrapped(f"written     {relative_to_cwd(path)}")

    def set_option(self, rest: str) -> None:
        """Change how answers are drawn, and print how they are. Raises UserError, and changes nothing, for what does not fit."""
        options = dict(self.options)
        for pair in re.sub(r"\s*=\s*", "=", rest).split():
            key, _, value = pair.partition("=")
            if key not in OPTIONS:
                raise UserError(f"/set {pair}: {key} is not one of {', '.join(OPTIONS)}.")
            try:
                read = json.loads("null" if value.lower() == "none" else value)
            except ValueError:
                read = value
            check_arguments({key: read}, SamplingOptions, "")
            options[key] = read
        check_options(self.run, options)
        self.options = options
        print_wrapped(", ".join(f"{name}={value}" for name, value in self.options.items() if value is not None))

    def print_help(self, rest: str) -> None:
        """What can be typed."""
        for what, does in HELP.items():
            print(format_row(what, does, 21))
