"""A run, a checkpoint of it or a Hugging Face folder, loaded once: model, tokenizer and prompt style. Needs no Lightning."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seqlab.build import build_model
from seqlab.config.signatures import checked_keywords
from seqlab.config.source import warn_if_edited
from seqlab.config.targets import allow_packages, check_targets, get_class
from seqlab.config.validate import check_required_groups
from seqlab.data.windows import Scale
from seqlab.device import torch_device
from seqlab.errors import UserError
from seqlab.generation.generate import decode_stream, generate_tokens, sample_token
from seqlab.prompts.chat_template import ChatTemplate, load_chat_template
from seqlab.prompts.styles import Message, PromptStyle, load_prompt_style
from seqlab.runs.folder import find_run, read_config
from seqlab.runs.run_info import read_run_info
from seqlab.seeding import derive_seed
from seqlab.tokenizers.base import load_tokenizer
from seqlab.types import NonNegativeFloat, NonNegativeInt, PositiveInt, Probability
from seqlab.weights.hf_folder import is_hf_folder, read_model_node, read_tokenizer_node
from seqlab.weights.hub import find_folder
from seqlab.weights.restore import check_base_place, load_model_from_run, load_source
from seqlab.weights.sources import resolve_init_from, weights_path

Values = Sequence[float] | Tensor | Any  # numbers, nested lists, arrays


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

    def __repr__(self) -> str:
        return f"<run {self.folder}>"

    def generate(self, prompt: str, **options: Any) -> str:
        """The text that follows a prompt; the options are those of `stream`."""
        return "".join(self.stream(prompt, **options))

    @checked_keywords
    def stream(
        self,
        prompt: str,
        input: str = "",
        max_new_tokens: PositiveInt = 100,
        temperature: NonNegativeFloat = 0.0,
        top_k: PositiveInt | None = None,
        top_p: Probability | None = None,
        seed: NonNegativeInt = 0,
    ) -> Iterator[str]:
        """Yield pieces of the text that follows a prompt, up to the end token.

        A run that was trained on prompts renders it in its own style. Raises UserError for a run that is not a language
        model, an empty prompt, and one that the tokenizer cannot encode.
        """
        ids = self.encode_prompt(prompt, input)
        for name, value in (("top_k", top_k), ("top_p", top_p), ("seed", seed or None)):
            if value is not None and not temperature:
                raise UserError(f"{name}={value} has no effect at temperature=0: set a temperature above 0 as well.")
        generator = torch.Generator(self.device).manual_seed(derive_seed(seed, "sampling"))
        next_token = partial(sample_token, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
        tokens = generate_tokens(
            self.model, ids, max_new_tokens, self.tokenizer.eos_id, next_token, self.tokenizer.vocab_size
        )
        return decode_stream(tokens, self.tokenizer.decode)

    def encode_prompt(self, prompt: str, input: str = "") -> list[int]:
        """The ids of a prompt as it is, or as an instruction in the run's prompt style. Raises UserError."""
        self.check_tokenizer()
        if input and not self.prompt_style:
            raise UserError(
                f"input={input} belongs to an instruction, and this run was not trained on instructions: leave it out."
            )
        if not prompt:
            raise UserError('The prompt is empty: give one with prompt="…".')
        try:
            style, message = self.prompt_style, Message("user", prompt, input)
            ids = style.render([message], self.tokenizer)[0] if style else self.tokenizer.encode(prompt)
        except ValueError as error:
            raise UserError(str(error)) from error
        if not ids:
            raise UserError(f"prompt={prompt!r} has no token in this tokenizer: write more.")
        size = self.data_properties.get("vocab_size") or self.config["model"].get("vocab_size")
        if size and max(ids) >= size:
            raise UserError(
                f"{self.folder} has a tokenizer of {self.tokenizer.vocab_size} tokens, and its model knows {size}: put the "
                "tokenizer's files that belong to the weights there."
            )
        return ids

    def check_tokenizer(self) -> None:
        """Raises UserError if there is none, and so no text."""
        if self.tokenizer is None and is_hf_folder(self.folder):
            raise UserError(f"{self.folder} has no tokenizer.json: put the tokenizer's files there.")
        if self.tokenizer is None:
            raise UserError(
                f"{self.folder} is not a language model: use a run that was trained on text or instructions."
            )

    def forecast(self, values: Values) -> Tensor:
        """The values that follow: (T,) -> (H,), (T, C) -> (H, C), (B, T, C) -> (B, H, C)

        Of a series longer than the window that the run was trained on, the last window is used. Raises UserError for a
        run that is not a forecaster, and a series that is too short.
        """
        windows, dims = self.read_windows(values)
        return self.finish_forecast(self.predict(windows), dims)

    @checked_keywords
    def roll_forward(self, values: Values, steps: PositiveInt) -> Tensor:
        """The next `steps` values, each forecast from the last window and from what was forecast before it.

        (T,) -> (steps,), (T, C) -> (steps, C), (B, T, C) -> (B, steps, C). Raises UserError as `forecast` does.
        """
        windows, dims = self.read_windows(values)
        found: list[Tensor] = []
        while sum(piece.size(1) for piece in found) < steps:
            found.append(self.predict(windows))
            windows = torch.cat([windows, found[-1]], dim=1)[:, -windows.size(1) :]
        return self.finish_forecast(torch.cat(found, dim=1)[:, :steps], dims)

    @torch.no_grad()
    def predict(self, windows: Tensor) -> Tensor:
        """windows (B, T, C) -> predictions (B, H, C), both standardised; a value that is missing is the mean"""
        return self.model(windows.nan_to_num(0.0))

    def check_forecaster(self) -> None:
        """Raises UserError for a run that was not trained on a series."""
        if "window" not in self.data_properties:
            raise UserError(f"{self.folder} is not a forecaster: use a run that was trained on a series.")

    def read_windows(self, values: Values) -> tuple[Tensor, int]:
        """The last windows of series (B, T, C), standardised as in training, and the dimensions that they were given in."""
        self.check_forecaster()
        try:
            series = torch.as_tensor(values, dtype=torch.float64)  # in its units, which may be large
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(
                f"{str(values)[:80]} is not a series: give numbers, as a list, an array or a tensor."
            ) from error
        windows = series.view(1, -1, 1) if series.dim() == 1 else series.unsqueeze(0) if series.dim() == 2 else series
        channels, window = self.data_properties["channels"], self.data_properties["window"]
        if windows.dim() != 3 or windows.size(2) != channels:
            raise UserError(
                f"Values of shape {tuple(series.shape)} do not fit a series of {channels} channel(s): give (T,) for one channel, "
                "(T, C) or (B, T, C)."
            )
        if windows.size(1) < window:
            raise UserError(f"{windows.size(1)} values are fewer than the window of {window} that this run reads.")
        windows = windows[:, -window:]
        standardised = self.scale.standardize(windows) if self.scale else windows.float()
        return standardised.to(self.device), series.dim()

    @property
    def scale(self) -> Scale | None:
        """How the run's series was standardised; None if it was not."""
        known = self.data_properties
        return Scale(known["mean"], known["std"]) if "std" in known else None

    def finish_forecast(self, predictions: Tensor, dims: int) -> Tensor:
        """Predictions (B, H, C) in the units of the run's series, in the dimensions that the values were given in."""
        predictions = self.scale.to_units(predictions) if self.scale else predictions
        return predictions.flatten() if dims == 1 else predictions[0] if dims == 2 else predictions


@checked_keywords
def load_run(
    run: str | Path,
    checkpoint: Literal["best", "last"] = "best",
    accelerator: str = "auto",
    dtype: Literal["auto", "float32"] = "auto",
    runs: str | Path = "runs",
    allow: Sequence[str] = (),
    init_from: str | None = None,
) -> LoadedRun:
    """Load a run (its folder or name, a sweep, or `last`) or a folder in Hugging Face format.

    `dtype=auto` is bfloat16 for a language model on a GPU, else float32; `allow` names packages of one's own that the run
    uses, and `init_from` where the base of its adapter is now. Raises UserError if there is no such run.
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
    tokenizer = find_tokenizer(config, folder)
    info = {"metrics": {"last": {}, "best": {}}, "data_properties": {}, "code": {}} if is_hf else read_run_info(folder)
    warn_if_edited(folder, info)
    check_base_place(config, init_from)

    def load_model() -> nn.Module:
        model = (
            load_hf_model(folder) if is_hf else load_model_from_run(folder, weights_path(folder, checkpoint), init_from)
        )
        is_half = dtype == "auto" and device.type == "cuda" and tokenizer is not None
        return model.to(device, torch.bfloat16 if is_half else None)

    style = load_chat_template(folder) if is_hf else load_prompt_style(folder)
    if style is None and (config.get("data") or {}).get("prompt_style"):
        raise UserError(
            f"{folder} has no prompt_style.json any more, which says how its prompts were rendered: restore it."
        )
    return LoadedRun(folder, config, load_model, info, tokenizer, style)


def find_tokenizer(config: dict[str, Any], folder: Path) -> Any:
    """The tokenizer that was saved with a run, or that lies in a Hugging Face folder; None if there is none."""
    if not config["tokenizer"]:
        return None
    saved = folder / "tokenizer"
    return load_tokenizer(get_class(config, "tokenizer"), saved if saved.is_dir() else folder)


def read_hf_nodes(folder: Path) -> dict[str, Any]:
    """The model and tokenizer nodes that a Hugging Face folder describes."""
    return {"model": read_model_node(folder), "tokenizer": read_tokenizer_node(folder)}


def load_hf_model(folder: Path) -> nn.Module:
    """The model of a Hugging Face folder with its weights."""
    source = resolve_init_from(str(folder), folder)
    model = build_model(read_model_node(folder), {})
    load_source(model, source)
    return model
