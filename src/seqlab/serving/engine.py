"""A run, a checkpoint of it or a Hugging Face folder, loaded once: model, tokenizer and prompt style. Needs no Lightning."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seqlab.config.signatures import checked_keywords
from seqlab.config.source import warn_if_edited
from seqlab.config.targets import allow_packages, check_targets, get_class
from seqlab.config.validate import check_required_groups
from seqlab.device import torch_device
from seqlab.errors import UserError
from seqlab.prompts.chat_template import ChatTemplate, load_chat_template
from seqlab.prompts.choose import load_prompt_style
from seqlab.prompts.styles import PromptStyle
from seqlab.runs.folder import find_run, read_config
from seqlab.runs.run_info import read_run_info
from seqlab.serving.chat import read_messages, start_answers
from seqlab.serving.completions import Completion
from seqlab.serving.forecaster import Values, forecast_values
from seqlab.serving.language import continue_completions, encode_prompt, start_completions
from seqlab.serving.precision import Dtype, place_model
from seqlab.serving.score import Score, score_text
from seqlab.tokenizers.base import load_tokenizer
from seqlab.types import PositiveInt
from seqlab.weights.hf_folder import (
    find_tokenizer_folder,
    is_hf_folder,
    read_model_node,
    read_state_dict,
    read_tokenizer_node,
)
from seqlab.weights.hub import find_folder
from seqlab.weights.restore import build_with_weights, check_base_place, load_model_from_run
from seqlab.weights.sources import weights_path


class LoadedRun:
    """A trained run, ready to be used. A Hugging Face folder has a config of its model only, and no metrics.

    `metrics` are those of the run's end, `best_metrics` all of them at the best objective. The weights are read when
    `model` is first used.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        load_model: Callable[[], nn.Module],
        info: dict[str, Any],
        tokenizer: Any = None,
        prompt_style: PromptStyle | ChatTemplate | None = None,
    ) -> None:
        self.folder, self.config, self.load_model = folder, config, load_model
        self.metrics, self.best_metrics = info["metrics"]["last"], info["metrics"]["best"]
        self.data_properties = info["data_properties"] or {}
        self.tokenizer, self.prompt_style = tokenizer, prompt_style

    @cached_property
    def model(self) -> nn.Module:
        """The model in eval mode. Raises UserError if the run has kept no weights."""
        return self.load_model().eval()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def context_length(self) -> int | None:
        """The most tokens that the model reads at once; None for one that reads any number."""
        return getattr(self.model, "context_length", None)

    def __repr__(self) -> str:
        return f"<run {self.folder}>"

    def generate(self, prompt: str, **options: Any) -> str:
        """The text that follows a prompt; the options are those of `stream`."""
        return "".join(self.stream(prompt, **options))

    def stream(self, prompt: str, input: str = "", **options: Any) -> Iterator[str]:
        """Yield pieces of the text that follows a prompt, up to the end token.

        A run that was trained on prompts renders it in its own style, with what the instruction refers to as `input`. Options:
        `stop` (a text or several, before the first of which the text ends) and those of SamplingOptions. Raises UserError for a
        run that is not a language model, and for a prompt that is empty, longer than the context, or cannot be encoded.
        """
        if options.get("logprobs") is not None or "n" in options:
            raise UserError("n and logprobs have no effect on a text alone: use complete.")
        (completion,) = start_completions(self, [encode_prompt(self, prompt, input)], **options)
        return (piece.text for piece in continue_completions(self, [completion]))

    def complete(self, prompts: Iterable[str], n: PositiveInt = 1, **options: Any) -> list[Completion]:
        """Continue several prompts together, each `n` times: with the seeds seed, seed + 1 … Options: those of `stream`."""
        if isinstance(prompts, str) or not isinstance(prompts, Iterable):
            raise UserError("complete takes several prompts: give a list of texts, or use generate for one.")
        completions = start_completions(self, [encode_prompt(self, prompt) for prompt in prompts], n, **options)
        for _ in continue_completions(self, completions):
            pass
        return completions

    def chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """The answer to a conversation, [{"role": "user", "content": …}, …]; the options are those of `stream`.

        Turns that do not fit into the context are left out, the oldest first. A run that was not trained on prompts gets a
        plain transcript. Raises UserError as `stream` does, and for messages of another form.
        """
        (completion,), _ = start_answers(self, read_messages(messages), **options)
        return "".join(piece.text for piece in continue_completions(self, [completion]))

    def score(self, text: str, stride: PositiveInt | None = None) -> Score:
        """How likely a text is, token by token; of one longer than the context, in windows `stride` tokens apart."""
        return score_text(self, text, stride)

    def forecast(self, values: Values, steps: int | None = None) -> Tensor:
        """The values that follow: (T,) -> (H,), (T, C) -> (H, C), (B, T, C) -> (B, H, C)

        H is the run's horizon, or `steps`, each forecast from the last window and from what was forecast before it. Of a series
        longer than the window, the last one is used. Raises UserError for a run that is not a forecaster, and a series that is
        too short.
        """
        return forecast_values(self, values, steps)


@checked_keywords
def load_run(
    run: str | Path,
    checkpoint: Literal["best", "last"] = "best",
    accelerator: str = "auto",
    dtype: Dtype = "auto",
    runs: str | Path = "runs",
    allow: Sequence[str] = (),
    init_from: str | None = None,
    packed: bool = False,
) -> LoadedRun:
    """Load a run (its folder or name, a sweep, or `last`) or a folder in Hugging Face format.

    `dtype=auto` is bfloat16 for a language model where that writes faster, else float32; int8 are weights of a byte. `allow`
    names packages of one's own that the run uses, and `init_from` where the base of its adapter is now. With `packed`, weights
    lie as a processor reads them fastest, and cannot be trained. Raises UserError if there is no such run.
    """
    allow_packages(allow)
    device = torch_device(accelerator)
    path = find_folder(str(run))
    is_hf = is_hf_folder(path) and not (path / "config.yaml").is_file()
    folder = path.resolve() if is_hf else find_run(str(run), Path(runs))
    config = read_hf_nodes(folder) if is_hf else read_config(folder)
    check_targets(config)
    if not is_hf:
        check_required_groups(config)
    tokenizer = find_tokenizer(config, find_tokenizer_folder(folder) if is_hf else folder)
    info = {"metrics": {"last": {}, "best": {}}, "data_properties": {}, "code": {}} if is_hf else read_run_info(folder)
    warn_if_edited(folder, info)
    is_forecaster = "window" in (info["data_properties"] or {})
    if is_forecaster and dtype not in ("auto", "float32"):
        raise UserError(f"dtype={dtype} is for language models, and {folder} is a forecaster: leave it out.")
    check_base_place(config, init_from)

    def load_model() -> nn.Module:
        model = (
            build_with_weights(config["model"], {}, read_state_dict(folder), folder)
            if is_hf
            else load_model_from_run(folder, weights_path(folder, checkpoint), init_from)
        )
        return place_model(model, device, "float32" if is_forecaster else dtype, packed)

    return LoadedRun(folder, config, load_model, info, tokenizer, find_style(folder, config, is_hf))


def find_style(folder: Path, config: dict[str, Any], is_hf: bool) -> PromptStyle | ChatTemplate | None:
    """The style of a run's prompts, or the chat template of a Hugging Face folder; an adapter may leave it to its base.

    Raises UserError if a run has lost it.
    """
    if is_hf:
        return load_chat_template(folder) or load_chat_template(find_tokenizer_folder(folder))
    style = load_prompt_style(folder)
    if style is None and (config.get("data") or {}).get("prompt_style"):
        raise UserError(
            f"{folder} has no prompt_style.json any more, which says how its prompts were rendered: restore it."
        )
    return style


def find_tokenizer(config: dict[str, Any], folder: Path) -> Any:
    """The tokenizer that was saved with a run, or that lies in a Hugging Face folder; None if there is none."""
    if not config["tokenizer"]:
        return None
    saved = folder / "tokenizer"
    return load_tokenizer(get_class(config, "tokenizer"), saved if saved.is_dir() else folder)


def read_hf_nodes(folder: Path) -> dict[str, Any]:
    """The model and tokenizer nodes that a Hugging Face folder describes."""
    return {"model": read_model_node(folder), "tokenizer": read_tokenizer_node(folder)}
