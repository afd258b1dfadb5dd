"""A run that is loaded: the model that was trained, texts and forecasts, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from commands import write_tokenizer
from seqlab.errors import UserError
from seqlab.serving.engine import LoadedRun, load_run

TRAIN_SINE = ["train", "model=gru", "data.window=8", "data.horizon=3", "trainer.max_epochs=2", "device=cpu"]


@pytest.fixture
def forecaster(seqlab: Callable) -> LoadedRun:
    """A recurrent network that forecasts three values."""
    assert seqlab(*TRAIN_SINE).status == 0
    return load_run("last", accelerator="cpu")


@pytest.fixture
def writer(seqlab: Callable, tiny: list[str]) -> LoadedRun:
    """A GPT that was trained on a story."""
    assert seqlab(*tiny, "trainer.val_check_interval=1").status == 0
    return load_run("last", accelerator="cpu")


def test_metrics_config_and_weights_are_the_runs(writer: LoadedRun) -> None:
    info = json.loads((writer.folder / "run.json").read_text())
    assert writer.metrics == info["metrics"]["last"]
    assert writer.best_metrics == info["metrics"]["best"]
    assert writer.config["model"]["n_embd"] == 16
    assert not writer.model.training
    for name in ("best", "last"):
        saved = torch.load(writer.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
        loaded = load_run(writer.folder, checkpoint=name, accelerator="cpu").model.state_dict()  # type: ignore[arg-type]  # one of the two
        assert all(torch.equal(tensor, saved[f"model.{key}"]) for key, tensor in loaded.items())


def test_texts_are_those_of_the_command(writer: LoadedRun, seqlab: Callable) -> None:
    options = {"max_new_tokens": 12, "min_new_tokens": 12, "temperature": 0.8, "top_k": 5, "seed": 3}
    text = writer.generate("The river", **options)
    assert len(text) == 12
    assert "".join(writer.stream("The river", **options)) == text
    words = [f"{key}={value}" for key, value in options.items()]
    assert seqlab("generate", "run=last", "prompt=The river", "device=cpu", *words).out == f"The river{text}\n"


@pytest.mark.parametrize("shape", [(8,), (20,), (8, 1), (20, 1), (4, 8, 1)])
def test_forecasts_have_the_shape_of_what_was_given(shape: tuple[int, ...], forecaster: LoadedRun) -> None:
    values = torch.randn(shape)
    forecast = forecaster.forecast(values)
    assert forecast.shape == {1: (3,), 2: (3, 1), 3: (4, 3, 1)}[len(shape)]
    windows = values.view(1, -1, 1) if len(shape) < 3 else values
    torch.testing.assert_close(forecast.flatten(), forecaster.model(windows[:, -8:]).flatten())
    torch.testing.assert_close(forecaster.forecast(values.tolist()), forecast)


def test_a_model_that_has_forecast_can_still_be_trained(forecaster: LoadedRun) -> None:
    forecaster.forecast([0.0] * 8)
    forecaster.model(torch.zeros(1, 8, 1)).sum().backward()
    assert all(parameter.grad is not None for parameter in forecaster.model.parameters())


def test_what_a_run_cannot_do_is_said(forecaster: LoadedRun, seqlab: Callable, tiny: list[str]) -> None:
    with pytest.raises(UserError, match="is not a language model"):
        forecaster.generate("The river")
    with pytest.raises(UserError, match="7 values are fewer than the window of 8"):
        forecaster.forecast([0.0] * 7)
    for values in (None, "abc", [[1.0, 2.0], [3.0]], {"a": 1}):
        with pytest.raises(UserError, match="is not a series: give numbers"):
            forecaster.forecast(values)
    assert seqlab(*tiny).status == 0
    writer = load_run("last")
    for prompt, extra, message in (("", "", "is empty"), ("The", "river", "belongs to an instruction"), ("Ω", "", "Ω")):
        with pytest.raises(UserError, match=message):
            writer.generate(prompt, input=extra)
    for option, message in (
        ({"temperature": -1}, "temperature=-1 does"),
        ({"top_q": 1}, "Did you mean top"),
    ):
        with pytest.raises(UserError, match=message):
            writer.generate("The", **option)
    with pytest.raises(UserError, match="is not a forecaster"):
        writer.forecast([0.0] * 8)


def test_what_is_no_run_is_refused(tmp_path: Path, seqlab: Callable) -> None:
    assert seqlab("--help").status == 0  # the folder of the test
    for run, message in (
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path, "is not a run folder"),
        ("last", "There is no run"),
    ):
        with pytest.raises(UserError, match=message):
            load_run(run)
    for options, message in (
        ({"accelerator": "tpu"}, "no such device"),
        ({"checkpoint": "bset"}, "must be best or last"),
        ({"device": "cpu"}, "device is not a keyword"),
    ):
        with pytest.raises(UserError, match=message):
            load_run(tmp_path, **options)


def test_weights_that_were_not_kept_are_missed_when_they_are_used(seqlab: Callable, tiny: list[str]) -> None:
    assert seqlab(*tiny, "callbacks.checkpoint.keep=none").status == 0
    run = load_run("last")
    assert run.metrics["train/loss"] > 0
    with pytest.raises(UserError, match="no weights"):
        _ = run.model


def test_a_hugging_face_folder_is_loaded_too(tmp_path: Path, shared: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, n_positions=16, vocab_size=50257)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path / "hf")
    run = load_run(tmp_path / "hf", accelerator="cpu")
    tokens = torch.arange(5).unsqueeze(0)
    torch.testing.assert_close(run.model(tokens), model(tokens).logits, atol=1e-5, rtol=1e-4)
    assert run.metrics == {}
    assert run.tokenizer is None
    with pytest.raises(UserError, match=r"hf has no tokenizer.json: put the tokenizer's files there"):
        run.generate("Hi")
    write_tokenizer(tmp_path / "other")
    content = json.loads((tmp_path / "other" / "tokenizer.json").read_text())
    content["model"]["vocab"]["H"] = 60_000
    (tmp_path / "hf" / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "hf" / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    with pytest.raises(UserError, match=r"hf has a tokenizer of 60001 tokens, and its model knows 50257"):
        load_run(tmp_path / "hf", accelerator="cpu").generate("Hi")


def test_what_has_no_effect_at_temperature_zero_is_refused(writer: LoadedRun) -> None:
    for options in ({"top_k": 5}, {"top_p": 0.5}, {"seed": 3}):
        with pytest.raises(UserError, match="has no effect at temperature=0"):
            writer.generate("The river", **options)


def test_devices_of_a_command_that_uses_one_are_refused(writer: LoadedRun, seqlab: Callable) -> None:
    answer = seqlab("generate", "run=last", "prompt=The", "trainer.devices=2")
    assert answer.status == 1
    assert "trainer.devices=2 has no effect: generating uses one device" in answer.err


def test_an_edited_tokenizer_is_said(writer: LoadedRun, seqlab: Callable) -> None:
    file = writer.folder / "tokenizer" / "alphabet.json"
    file.write_text(json.dumps(json.loads(file.read_text())[::-1]))  # the same characters
    for words in (["generate", "prompt=The", "run=last"], ["train", "resume=last"], ["train", "init_from=last"]):
        answer = seqlab(
            *words, *(["data=text", "data.path=story.txt", "trainer.max_steps=4"] if "train" in words else [])
        )
        assert answer.status == 1
        assert f"{file} was changed since it was saved" in answer.err


@pytest.mark.parametrize("damage", ["{", "[]", "", '{"alphabet": 3}'])
def test_a_damaged_tokenizer_is_said(damage: str, writer: LoadedRun, seqlab: Callable) -> None:
    (writer.folder / "tokenizer" / "alphabet.json").write_text(damage)
    with pytest.raises(UserError, match="restore"):
        load_run(writer.folder)
    for words in (
        ["generate", "run=last", "prompt=The"],
        ["evaluate", "run=last", "split=val"],
        ["train", "resume=last"],
    ):
        answer = seqlab(*words, *(["trainer.max_steps=4"] if "train" in words else []))
        assert (answer.status, len(answer.err.strip().splitlines())) == (1, 1), answer.err


def test_a_prompt_style_that_was_lost_is_missed(seqlab: Callable, tmp_path: Path) -> None:
    records = [{"instruction": f"Say {n}.", "output": "so"} for n in range(20)]
    (tmp_path / "records.json").write_text(json.dumps(records))
    small = [
        "model=gpt_mini",
        "model.n_layer=1",
        "model.n_head=2",
        "model.n_embd=16",
        "trainer.max_steps=1",
        "device=cpu",
    ]
    assert seqlab("train", "data=instruction", "data.path=records.json", "tokenizer=byte", *small).status == 0
    (run,) = tmp_path.glob("runs/*/*")
    (run / "prompt_style.json").unlink()
    answer = seqlab("generate", "run=last", "prompt=Say 3.")
    assert answer.status == 1
    assert "has no prompt_style.json any more" in answer.err


def test_generate_names_the_language_model_trained_last(seqlab: Callable, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab("train", "-m", "model=rnn,gru", "trainer.max_epochs=1", "device=cpu").status == 0
    assert "train one, as in" in seqlab("generate", "run=last", "prompt=x").err
    assert seqlab(*tiny).status == 0
    (language,) = tmp_path.glob("runs/*/*gpt_mini*")
    assert f"the last one is run={language.relative_to(tmp_path)}" in seqlab("generate", "run=best", "prompt=x").err
