"""Every yaml under conf/ composes, every target takes its keys, every model and data either train or are refused."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from commands import (
    LANGUAGE_MODELS,
    end_at_once,
    needed_before,
    shorten,
    to_args,
    write_r50k_base,
    write_series,
    write_texts,
    write_tokenizer,
)
from seqlab import build
from seqlab.cli.compose import pop_switches
from seqlab.cli.hydra_api import compose_config, to_plain_dict
from seqlab.config import targets, validate
from seqlab.config.groups import CONF, group_options, header_comment
from seqlab.device import available_accelerators
from seqlab.launch.create import ComposedRun, resolve_auto

FILES = sorted(file.relative_to(CONF) for file in CONF.rglob("*.yaml"))
GROUP_FILES = [file for file in FILES if len(file.parts) == 2]
LANGUAGE = ("tokenizer", "adapter")  # what only language data can use


def config_of(words: list[str]) -> ComposedRun:
    """A config composed from words as `seqlab train` does it."""
    config = compose_config("train", words, [])
    chosen = {word.split("=")[0]: word.split("=")[1] for word in words}
    choices = {group: chosen.get(group, "default") for group in group_options()}
    job = ComposedRun(to_plain_dict(config), choices, words)
    pop_switches(job)
    return job


def words_for(group: str, choice: str, text: Path) -> list[str]:
    """The words that make a choice, with what it needs besides."""
    words = [f"{group}={choice}"]
    if (
        (group in LANGUAGE and choice != "none")
        or choice in LANGUAGE_MODELS
        or choice in ("pretraining", "instruction_tuning")
    ):
        words.append("data=text")
    if "data=text" in words:
        words.append(f"data.path={text}")
    if choice == "code":
        words.append(f"data.path={text.parent}")
    if choice == "series":
        words.append("data.path=my.csv")
    if (group, choice) == ("tokenizer", "hf"):
        words.append("tokenizer.path=my-tokenizer")
    if group == "tokenizer" and choice == "none":
        words = ["data=sine", *words]
    return list(dict.fromkeys(words))


@pytest.mark.parametrize("file", GROUP_FILES, ids=str)
def test_every_choice_composes_and_its_target_takes_its_keys(file: Path, story: Path) -> None:
    job = config_of(words_for(file.parts[0], file.stem, story))
    targets.check_targets(job.config)
    if job.config["trainer"]["accelerator"] == "auto":  # another device may not be there
        resolve_auto(job.config)
    validate.validate_config(job.config, job.choices)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_yaml_says_what_it_is_for(file: Path) -> None:
    lines = (CONF / file).read_text().splitlines()
    assert all("@package" not in line for line in lines[1:]), "@package must be the first line"
    assert any(header_comment(CONF / file))
    yaml.safe_load((CONF / file).read_text())


COMMANDS = {command: file for file in FILES if (command := header_comment(CONF / file)[1])}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_in_a_yamls_comment_works(command: str, seqlab, shared: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SEQLAB_DATA", str(shared))
    end_at_once(monkeypatch)
    write_texts(tmp_path)
    args = shorten(to_args(command))
    write_series(tmp_path / "my.csv")
    if "tokenizer=tiktoken" in args:
        write_r50k_base(tmp_path / "data", shared)
    if "tokenizer=hf" in args:
        write_tokenizer(tmp_path / "my-tokenizer")
    for before in needed_before(args):
        assert seqlab(*before).status == 0
    if args[0] == "diff":
        args = [arg.replace("a=last", f"a={max(Path('runs').glob('*/*'))}") for arg in args]
    if "device=ddp" in args:  # becomes the process that Lightning repeats
        subprocess.run([sys.executable, "-m", "seqlab", *args], cwd=tmp_path, capture_output=True, check=True)
        return
    answer = seqlab(*args)
    if any(f"device={name}" in args and name not in available_accelerators() for name in ("cuda", "mps")):
        assert "this machine has no such device" in answer.err
    else:
        assert answer.status == 0, answer.err


def test_every_yaml_but_those_that_choose_nothing_has_a_command() -> None:
    without = {str(file) for file in FILES if not header_comment(CONF / file)[1]}
    assert without == {f"{group}/none.yaml" for group in ("adapter", "debug", "experiment", "tokenizer")}


QUICK = ("gpt_mini", "llama", "llama_mini", "hf", "rnn_lm", "lstm_lm", "gru_lm")  # language models that train in a test
SERIES = ("sine", "series")


def list_pairs() -> list[tuple[str, str]]:
    """Models and data: gpt_mini and each forecaster with all that fit, other small models with one of each kind, each large
    one with one of them; each with one that does not fit.
    """
    pairs = []
    for choice in group_options()["model"]:
        is_language = choice in LANGUAGE_MODELS
        fitting = [data for data in group_options()["data"] if (data in SERIES) != is_language]
        if is_language and choice != "gpt_mini":
            fitting = ["text", "instruction"] if choice in ("llama", "gru_lm") else ["text"]
        pairs += [(choice, data) for data in fitting]
        pairs.append((choice, "sine" if is_language else "verdict"))
    return pairs


@pytest.mark.parametrize(("choice", "data"), list_pairs())
def test_model_and_data_train_two_steps_or_are_refused(
    choice: str, data: str, seqlab, story: Path, shared: Path, tmp_path: Path
) -> None:
    words = [
        "train",
        f"model={choice}",
        f"data={data}",
        "debug=fast",
        "device=cpu",
        f"paths.data=[{shared}]",
        "logger=none",
    ]
    words += [f"data.path={story}"] if data == "text" else []
    if data == "code":
        write_texts(tmp_path)
        words.append("data.path=my-code")
    is_series = data in SERIES
    if data == "series":
        write_series(tmp_path / "my.csv")
        words.append("data.path=my.csv")
    if not is_series:
        words += ["data.context_length=32"] if data != "instruction" else ["data.context_length=128"]
        words += ["callbacks.samples=null", "callbacks.checkpoint=null"]
    fits = is_series == (choice not in LANGUAGE_MODELS)
    if fits and choice in LANGUAGE_MODELS and choice not in QUICK:
        builds_on_the_meta_device(words[1:])
        return
    answer = seqlab(*words)
    assert answer.status == (0 if fits else 1), answer.err
    if not fits:
        assert f"model={choice} and data={data} do not fit" in answer.err
        assert not Path("runs").exists()


def builds_on_the_meta_device(words: list[str]) -> None:
    """A model too large to train in a test."""
    import torch

    job = config_of(words)
    with torch.device("meta"):
        model = build.build_model(
            job.config["model"], {"vocab_size": 50257, "context_length": job.config["data"]["context_length"]}
        )
    assert sum(parameter.numel() for parameter in model.parameters()) > 70e6


def test_the_default_model_follows_the_task(shared: Path) -> None:
    assert config_of(["data=verdict"]).config["model"]["_target_"].endswith("GPT")
    assert config_of(["data=sine"]).config["model"]["_target_"].endswith("LSTMForecaster")


def test_an_experiment_overrides_and_the_command_line_wins() -> None:
    job = config_of(["experiment=sine", "seed=7", "model=gru"]).config
    assert job["data"]["seed"] == 7
    assert job["trainer"]["accelerator"] == "cpu"
    assert job["model"]["_target_"].endswith("GRUForecaster")
    assert config_of(["experiment=sine", "device=mps"]).config["trainer"]["accelerator"] == "mps"


def test_the_recipe_is_the_tasks() -> None:
    job = config_of(["data=verdict"]).config
    assert job["optimizer"] | {"lr": 4e-4, "weight_decay": 0.1} == job["optimizer"]
    assert (job["trainer"]["max_epochs"], job["data"]["batch_size"], job["data"]["context_length"]) == (10, 2, 256)
    assert config_of(["data=verdict", "optimizer.lr=1e-3"]).config["optimizer"]["lr"] == 1e-3
