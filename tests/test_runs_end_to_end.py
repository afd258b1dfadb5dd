"""Real commands in real folders: what a run leaves behind, and what the other verbs make of it."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqlab.runs.run_info import KEYS
from seqlab.tokenizers.char import CharTokenizer


def only_run(folder: Path) -> Path:
    """The one run below a folder."""
    (run,) = folder.glob("runs/*/*")
    return run


def record(run: Path) -> dict:
    """run.json."""
    return json.loads((run / "run.json").read_text())


def newest_run(folder: Path) -> Path:
    """The run below a folder that was started last."""
    return max(folder.glob("runs/*/*"), key=lambda run: record(run)["started"])


def test_a_sine_run_leaves_what_the_design_says(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "data.val_fraction=0.1", "trainer.max_epochs=3", "device=cpu")
    assert answer.status == 0, answer.err
    run = only_run(tmp_path)
    assert run.name.endswith("-lstm-sine")
    said = record(run)
    assert list(said) == list(KEYS)
    assert (said["status"], said["steps"], said["parameters"]) == ("done", 3, {"total": 4513, "trainable": 4513})
    assert {"train/loss", "val/loss"} <= set(said["metrics"]["last"])
    assert {"val/loss", "test/mse", "test/mse_oracle"} <= set(said["metrics"]["best"])  # the best weights are tested
    assert said["metrics"]["best"]["val/loss"] <= said["metrics"]["last"]["val/loss"]
    assert said["checkpoints"] == {"best": "checkpoints/best.ckpt", "last": "checkpoints/last.ckpt"}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["objective"]["metric"] == "val/loss"
    assert "hydra" not in config
    assert not list(tmp_path.rglob("multirun.yaml"))
    assert not (tmp_path / "outputs").exists()


def test_tensorboard_holds_scalars_figures_text_and_hyperparameters(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    events = EventAccumulator(str(only_run(tmp_path)), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()
    wanted = {
        "loss/train",
        "loss/train_step",
        "loss/val",
        "metrics/val_perplexity",
        "speed/tokens",
        "speed/tokens_per_second",
        "optimizer/lr",
        "optimizer/grad_norm",
    }
    assert wanted <= set(tags["scalars"])
    loss, bits = (events.Scalars(tag)[0].value for tag in ("loss/val", "metrics/val_bits_per_byte"))
    assert bits == pytest.approx(loss / math.log(2))  # of ASCII, in characters
    assert [event.step for event in events.Scalars("loss/train_step")] == [1]
    assert {"setup/command/text_summary", "setup/config/text_summary", "samples/text_summary"} <= set(tags["tensors"])
    plugins = events.summary_metadata
    assert {"_hparams_/session_start_info", "_hparams_/session_end_info"} <= set(plugins)


def test_the_forecast_is_drawn(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "trainer.max_epochs=1", "device=cpu").status == 0
    events = EventAccumulator(str(only_run(tmp_path)))
    events.Reload()
    assert set(events.Tags()["images"]) == {"val/forecast", "test/forecast"}


def test_checkpoints_hold_tensors_and_plain_python_only(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    folder = only_run(tmp_path) / "checkpoints"
    last = torch.load(folder / "last.ckpt", weights_only=True)
    best = torch.load(folder / "best.ckpt", weights_only=True)
    assert set(best) == {"state_dict", "global_step", "metrics"}
    assert set(best["state_dict"]) <= set(last["state_dict"])


@pytest.mark.parametrize(("keep", "kept"), [("all", {"best", "last"}), ("weights", {"best"}), ("none", set())])
def test_keep_says_what_a_finished_run_keeps(
    keep: str, kept: set[str], seqlab, tiny: list[str], tmp_path: Path
) -> None:
    assert seqlab(*tiny, f"callbacks.checkpoint.keep={keep}").status == 0
    assert {file.stem for file in only_run(tmp_path).glob("checkpoints/*.ckpt")} == kept


def test_without_validation_the_last_weights_are_kept(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny, "data.val_fraction=0", "callbacks.checkpoint.keep=weights").status == 0
    run = only_run(tmp_path)
    assert record(run)["objective"]["metric"] == "train/loss"
    assert [file.name for file in run.glob("checkpoints/*.ckpt")] == ["last.ckpt"]
    answer = seqlab("train", "resume=last", "trainer.max_steps=5")
    assert answer.status == 1
    assert "no full last.ckpt" in answer.err
    assert seqlab("generate", "run=last", "prompt=The", "max_new_tokens=3").status == 0


def test_evaluate_restates_nothing_and_takes_other_data(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    run = only_run(tmp_path)
    losses = []
    for words in ([], ["data.batch_size=1"], ["data.batch_size=3"]):
        assert seqlab("evaluate", "run=last", "split=val", "checkpoint=last", *words).status == 0
        measured = json.loads((run / "evaluations" / "text-val-last.json").read_text())
        assert set(measured) == {"data", "split", "checkpoint", "metrics", "files"}
        losses.append(measured["metrics"]["val/loss"])
    answer = seqlab("evaluate", "run=last", "split=val", "device=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    assert answer.status == 1
    assert "evaluate is one process" in answer.err
    assert losses == pytest.approx([record(run)["metrics"]["last"]["val/loss"]] * 3, rel=1e-5)
    records = [{"instruction": "The river", "output": "ran past"}] * 20
    (tmp_path / "records.json").write_text(json.dumps(records))
    answer = seqlab("evaluate", f"run={run}", "data=instruction", "data.path=records.json", "split=val")
    assert answer.status == 1
    assert "alphabet" in answer.err  # the headings of the prompt have characters that the story does not have
    answer = seqlab("evaluate", "run=last", "split=test")
    assert answer.status == 1
    assert "no split test" in answer.err


def test_generate_is_reproducible_and_reads_standard_input(
    seqlab, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    assert seqlab(*tiny).status == 0
    words = ["generate", "run=last", "max_new_tokens=20", "temperature=1", "top_k=5"]
    first = seqlab(*words, "prompt=The river, the = mill!")
    assert first.status == 1
    assert "The character '='" in first.err
    texts = [seqlab(*words, "prompt=The mill, and", f"seed={seed}").out for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    monkeypatch.setattr("sys.stdin", io.StringIO("The mill, and"))
    assert seqlab(*words, "prompt=-", "seed=1").out == texts[0]
    assert seqlab("generate", "run=last", "prompt=The", "input=x").status == 1


def test_lora_on_a_base_brings_model_and_tokenizer_along(seqlab, tiny: list[str], tmp_path: Path) -> None:
    words = [word for word in tiny if not word.startswith("tokenizer=")]
    assert seqlab(*words, "tokenizer=byte").status == 0
    base = only_run(tmp_path)
    records = [{"instruction": "The river", "output": "ran past"}] * 20
    (tmp_path / "records.json").write_text(json.dumps(records))
    tune = [
        "train",
        "data=instruction",
        "data.path=records.json",
        "device=cpu",
        "trainer.max_steps=2",
        f"init_from={base}",
    ]
    answer = seqlab(*tune, "adapter=lora")
    assert answer.status == 1
    assert "longer than data.context_length=16" in answer.err  # the base's context is too short for these records
    assert seqlab(*words, "tokenizer=byte", "data.context_length=200").status == 0
    longer = newest_run(tmp_path)
    answer = seqlab(*tune[:-1], f"init_from={longer}", "adapter=lora", "data.batch_size=4")
    assert answer.status == 0, answer.err
    run = newest_run(tmp_path)
    said = record(run)
    assert run.name.endswith("gpt_mini-instruction")
    assert said["parameters"]["trainable"] < said["parameters"]["total"]
    assert said["base"]["path"] == str(longer)
    assert {file.name for file in (run / "adapter").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert said["checkpoints"] == {"best": "adapter", "last": "checkpoints/last.ckpt"}
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all("lora_" in name for name in last if name.startswith("model."))
    for checkpoint in ("best", "last"):
        assert seqlab("evaluate", f"run={run}", "split=val", f"checkpoint={checkpoint}").status == 0
        assert (
            seqlab("generate", f"run={run}", "prompt=The river", f"checkpoint={checkpoint}", "max_new_tokens=3").status
            == 0
        )
    answer = seqlab(*tune[:-1], f"init_from={run}", "data.batch_size=4")  # merged first
    assert answer.status == 0, answer.err


def test_a_sweep_lies_where_the_design_says(seqlab, tmp_path: Path) -> None:
    words = ["model=rnn,gru", "seed=1,2", "trainer.max_epochs=1", "device=cpu", "hydra.launcher.jobs=1"]
    answer = seqlab("train", "-m", *words)
    assert answer.status == 0, answer.err
    (sweep,) = tmp_path.glob("runs/*/*")
    assert sweep.name.endswith("-sweep-multirun")
    names = sorted(file.parent.name for file in sweep.glob("*/run.json"))
    assert names == ["000-model_rnn-seed_1", "001-model_rnn-seed_2", "002-model_gru-seed_1", "003-model_gru-seed_2"]
    assert [record(sweep / name)["seed"] for name in names] == [1, 2, 1, 2]
    assert "4 of 4 runs done" in answer.out
    assert not list(tmp_path.rglob("multirun.yaml"))
    assert seqlab("evaluate", "run=last", "split=train").status == 0
    assert (sweep / names[-1] / "evaluations").is_dir()  # last is the job started last


def test_epochs_that_are_cut_short_are_all_validated(seqlab, tiny: list[str], tmp_path: Path) -> None:
    words = [word for word in tiny if not word.startswith("trainer.max_steps")]
    assert seqlab(*words, "data.batch_size=40", "trainer.limit_train_batches=3", "trainer.max_epochs=3").status == 0
    events = EventAccumulator(str(only_run(tmp_path)), size_guidance={"scalars": 0})
    events.Reload()
    assert [event.step for event in events.Scalars("loss/val")] == [3, 6, 9]


def test_early_stopping_in_mid_epoch_has_a_training_loss(seqlab, story: Path, tmp_path: Path) -> None:
    words = "data=text data.path=story.txt tokenizer=char data.context_length=16 model=gpt_mini model.n_embd=16".split()
    stopping = "callbacks.early_stopping.patience=1 trainer.val_check_interval=3 optimizer.lr=5".split()
    answer = seqlab("train", *words, *stopping, "data.batch_size=12", "trainer.accumulate_grad_batches=2", "device=cpu")
    assert answer.status == 0, answer.err
    assert "train/loss" in record(only_run(tmp_path))["metrics"]["last"]


def test_a_sweep_can_be_written_without_being_started(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "-m", "seed=1,2", "start=false", "device=cpu")
    assert answer.status == 0, answer.err
    assert "2 runs written to runs/" in answer.out
    assert [record(folder)["status"] for folder in tmp_path.glob("runs/*/*/0*")] == ["pending"] * 2


def test_a_failing_job_of_a_sweep_is_recorded_and_stops_nothing(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "-m", "optimizer.lr=1e20,1e-2", "trainer.max_epochs=3", "device=cpu")
    assert answer.status == 1
    (sweep,) = tmp_path.glob("runs/*/*")
    assert [record(folder)["status"] for folder in sorted(sweep.glob("0*"))] == ["failed", "done"]


def test_the_door_runs_a_frozen_folder(seqlab, tiny: list[str], tmp_path: Path) -> None:
    from seqlab.cli.compose import compose, pop_switches
    from seqlab.launch.create import create_run

    os.chdir(tmp_path)
    (job,) = compose("train", tiny[1:]).jobs
    pop_switches(job)
    run = create_run(job)
    assert record(run)["status"] == "pending"
    done = subprocess.run([sys.executable, "-m", "seqlab.start", str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert record(run)["status"] == "done"


def test_hydras_own_flags_work(seqlab) -> None:
    answer = seqlab("train", "--cfg", "job", "-p", "optimizer")
    assert answer.status == 0
    assert "seqlab.training.optim.adam" in answer.out
    assert not Path("runs").exists()


def test_the_run_remembers_its_data(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    (path,) = record(only_run(tmp_path))["data"]
    assert path == str(tmp_path / "story.txt")
    assert len(record(only_run(tmp_path))["data"][path]) == 64


def test_a_tokenizer_that_knows_no_bytes_has_no_bits_per_byte_and_no_warning(
    seqlab, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(CharTokenizer, "byte_lengths")
    answer = seqlab(*tiny)
    assert (answer.status, answer.err) == (0, "")
    metrics = record(only_run(tmp_path))["metrics"]["last"]
    assert "val/loss" in metrics
    assert "val/bits_per_byte" not in metrics


def test_the_last_weights_are_validated_whatever_the_interval(seqlab, tiny: list[str], tmp_path: Path) -> None:
    words = ["trainer.max_steps=-1", "trainer.max_epochs=2", "trainer.val_check_interval=5"]
    assert seqlab(*tiny, *words).status == 0
    run = only_run(tmp_path)
    measured = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = record(run)["steps"]
    validated = [point["step"] for point in measured if "val/loss" in point]
    assert steps % 5  # neither the run
    assert (steps // 2) % 5  # nor an epoch is a multiple of the interval
    assert validated[-1] == steps
    assert len(validated) == len(set(validated)) == 2 * (steps // 2 // 5) + 1


STOPPED = ["objective.metric=train/loss", "objective.mode=max", "callbacks.early_stopping.patience=1"]


@pytest.mark.parametrize(
    "end",
    [
        ["trainer.max_steps=-1", "trainer.max_epochs=3"],
        ["trainer.max_steps=5"],
        ["trainer.max_steps=-1", "trainer.max_epochs=9", "trainer.check_val_every_n_epoch=5", *STOPPED],
    ],
)
def test_the_last_weights_are_validated_whatever_the_epoch(end: list[str], seqlab, tiny: list[str], tmp_path) -> None:
    assert seqlab(*tiny, "trainer.check_val_every_n_epoch=2", *end).status == 0
    run = only_run(tmp_path)
    measured = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validated = [point["step"] for point in measured if "val/loss" in point]
    assert validated[-1] == record(run)["steps"]
    assert len(validated) == len(set(validated)) == (2 if "trainer.max_epochs=3" in end else 1)


def test_what_was_measured_is_shown_where_it_cannot_be_written(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    (only_run(tmp_path) / "evaluations").write_text("a file in the place of the folder")
    answer = seqlab("evaluate", "run=last", "split=val")
    assert answer.status == 0, answer.err
    assert "val/loss" in answer.out or "test/loss" in answer.out
    assert "could not be written" in answer.err


def test_a_cache_is_never_required(seqlab, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQLAB_CACHE", "/proc/nowhere")
    answer = seqlab(*[word for word in tiny if word != "device=cpu"], "device=auto")
    assert answer.status == 0, answer.err


def test_a_run_for_two_machines_is_started_on_both(seqlab) -> None:
    answer = seqlab("train", "device=cpu", "trainer.num_nodes=2", "start=false")
    assert answer.status == 0, answer.err
    assert "srun --nodes 2 --ntasks-per-node 1" in answer.out


def test_a_base_without_a_character_of_the_records_advises_what_a_frozen_base_can_have(
    seqlab, tiny: list[str], tmp_path: Path
) -> None:
    assert seqlab(*tiny).status == 0
    (tmp_path / "other.txt").write_text("The river ran Ω. " * 40)
    words = ["data=text", "data.path=other.txt", "adapter=lora", f"init_from={only_run(tmp_path)}", "device=cpu"]
    answer = seqlab("train", *words)
    assert answer.status == 1
    assert "'Ω' is not in this tokenizer's alphabet" in answer.err
    assert "leave it out" in answer.err
    assert "use tokenizer=" not in answer.err


def test_a_prompt_that_is_null_is_none(seqlab, tiny: list[str]) -> None:
    assert seqlab(*tiny).status == 0
    answer = seqlab("generate", "run=last", "prompt=null")
    assert answer.status == 1
    assert "Give one of the two" in answer.err
