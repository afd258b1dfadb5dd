"""Real commands in real folders: what a run leaves behind, and what the other verbs make of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

KEYS = (
    "status command overrides choices seed parameters metrics objective checkpoints steps tokens facts "
    "started ended process git versions hardware data base error"
).split()


def only_run(folder: Path) -> Path:
    """The one run below a folder."""
    (run,) = folder.glob("runs/*/*")
    return run


def record(run: Path) -> dict:
    """run.json."""
    return json.loads((run / "run.json").read_text())


def test_a_sine_run_leaves_what_the_design_says(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "data.val_fraction=0.1", "trainer.max_epochs=3", "device=cpu")
    assert answer.status == 0, answer.err
    run = only_run(tmp_path)
    assert run.name.endswith("-lstm-sine")
    said = record(run)
    assert sorted(said) == sorted(KEYS)
    assert (said["status"], said["steps"], said["parameters"]) == ("done", 3, {"total": 4513, "trainable": 4513})
    assert {"train/loss", "val/loss", "test/mse", "test/mse_oracle"} <= set(said["metrics"]["last"])
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
    wanted = {"train/loss", "val/loss", "val/perplexity", "tokens", "tokens_per_second", "lr", "grad_norm"}
    assert wanted <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("train/loss")] == [1]
    assert {"command/text_summary", "config/text_summary", "samples/text_summary"} <= set(tags["tensors"])
    plugins = events.summary_metadata
    assert {"_hparams_/session_start_info", "_hparams_/session_end_info"} <= set(plugins)


def test_the_forecast_is_drawn(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "trainer.max_epochs=1", "device=cpu").status == 0
    events = EventAccumulator(str(only_run(tmp_path)))
    events.Reload()
    assert events.Tags()["images"] == ["test/forecast"]


def test_checkpoints_hold_tensors_and_plain_python_only(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    folder = only_run(tmp_path) / "checkpoints"
    last = torch.load(folder / "last.ckpt", weights_only=True)
    best = torch.load(folder / "best.ckpt", weights_only=True)
    assert set(best) == {"state_dict", "global_step"}
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
        assert set(measured) == {"data", "split", "checkpoint", "metrics"}
        losses.append(measured["metrics"]["val/loss"])
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
    longer = max((tmp_path / "runs").glob("*/*"))
    answer = seqlab(*tune[:-1], f"init_from={longer}", "adapter=lora", "data.batch_size=4")
    assert answer.status == 0, answer.err
    run = max((tmp_path / "runs").glob("*/*"))
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
    answer = seqlab("train", "-m", "model=rnn,gru", "seed=1,2", "trainer.max_epochs=1", "device=cpu")
    assert answer.status == 0, answer.err
    (sweep,) = tmp_path.glob("runs/*/*")
    assert sweep.name.endswith("-sweep-multirun")
    names = sorted(folder.name for folder in sweep.iterdir())
    assert names == ["000-model_rnn-seed_1", "001-model_rnn-seed_2", "002-model_gru-seed_1", "003-model_gru-seed_2"]
    assert [record(sweep / name)["seed"] for name in names] == [1, 2, 1, 2]
    assert "4 of 4 runs done" in answer.out
    assert not list(tmp_path.rglob("multirun.yaml"))
    assert seqlab("evaluate", "run=last", "split=train").status == 0
    assert (sweep / names[-1] / "evaluations").is_dir()  # last is the job started last


def test_a_failing_job_of_a_sweep_is_recorded_and_stops_nothing(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "-m", "optimizer.lr=1e20,1e-2", "trainer.max_epochs=3", "device=cpu")
    assert answer.status == 1
    (sweep,) = tmp_path.glob("runs/*/*")
    assert [record(folder)["status"] for folder in sorted(sweep.iterdir())] == ["failed", "done"]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint."""
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def two_epochs(tiny: list[str]) -> list[str]:
    """Twice seven steps, with dropout."""
    words = [word for word in tiny if not word.startswith("trainer.max_steps")]
    return [*words, "model.dropout=0.2", "data.batch_size=20", "trainer.max_epochs=2"]


@pytest.mark.parametrize("stop", [2, 7, 9])
def test_a_run_stopped_by_max_steps_goes_on(stop: int, seqlab, two_epochs: list[str], tmp_path: Path) -> None:
    assert seqlab(*two_epochs, "paths.runs=whole").status == 0
    (whole,) = tmp_path.glob("whole/*/*")
    assert seqlab(*two_epochs, f"trainer.max_steps={stop}").status == 0
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1")
    assert answer.status == 0, answer.err
    run = only_run(tmp_path)
    assert record(run)["steps"] == record(whole)["steps"] == 14
    assert_same(weights(whole / "checkpoints" / "last.ckpt"), weights(run / "checkpoints" / "last.ckpt"))
    assert record(run)["metrics"]["last"]["train/loss"] == record(whole)["metrics"]["last"]["train/loss"]


def test_every_checkpoint_leads_to_the_same_end(seqlab, two_epochs: list[str], tmp_path: Path, monkeypatch) -> None:
    from seqlab.runs.folder import write_record
    from seqlab.tracking.checkpoint import Checkpoint

    save = Checkpoint.save_last

    def keep_each(self: Checkpoint, trainer) -> None:
        save(self, trainer)
        shutil.copy(self.last, tmp_path / f"step-{trainer.global_step}.ckpt")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save_last", keep_each)
        assert seqlab(*two_epochs, "callbacks.checkpoint.every_n_steps=1").status == 0
    run = only_run(tmp_path)
    end, loss = weights(run / "checkpoints" / "last.ckpt"), record(run)["metrics"]["last"]
    for step in (1, 6, 7, 8, 13):
        shutil.copy(tmp_path / f"step-{step}.ckpt", run / "checkpoints" / "last.ckpt")
        write_record(run, status="interrupted")
        answer = seqlab("train", f"resume={run}")
        assert answer.status == 0, answer.err
        assert f"resumed     after step {step}" in answer.out
        assert_same(end, weights(run / "checkpoints" / "last.ckpt"))
        assert record(run)["metrics"]["last"] == loss


def test_resume_refuses_other_choices_and_finished_runs(seqlab, tiny: list[str]) -> None:
    assert seqlab(*tiny).status == 0
    for words, part in {
        ("model=gpt2",): "model=gpt2 cannot be changed",
        (): "is finished",
        ("trainer.max_epoch=3",): "Did you mean trainer.max_epochs",
        ("trainer.max_steps=4", "optimizer.lr=-1"): "out of range",
    }.items():
        answer = seqlab("train", "resume=last", *words)
        assert answer.status == 1
        assert part in answer.err
    assert seqlab("train", "resume=last", "trainer.max_steps=4").status == 0


def test_a_run_that_is_being_trained_is_not_resumed(seqlab, tiny: list[str], tmp_path: Path) -> None:
    from seqlab.runs.folder import write_record
    from seqlab.runs.record import whereabouts

    assert seqlab(*tiny).status == 0
    write_record(only_run(tmp_path), status="running", process=whereabouts() | {"pid": os.getppid()})
    answer = seqlab("train", "resume=last", "trainer.max_steps=5")
    assert answer.status == 1
    assert f"is being trained by process {os.getppid()}" in answer.err


def test_a_signal_saves_and_the_run_resumes(tiny: list[str], seqlab, tmp_path: Path) -> None:
    words = [word for word in tiny if not word.startswith("trainer.max_steps")]
    command = [sys.executable, "-m", "seqlab", *words, "trainer.max_epochs=100000"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/*/checkpoints/best.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with resume=" in err
    assert "Traceback" not in err
    run = only_run(tmp_path)
    said = record(run)
    assert said["status"] == "interrupted"
    assert (run / "checkpoints" / "last.ckpt").exists()
    assert seqlab("train", "resume=last", f"trainer.max_steps={said['steps'] + 3}").status == 0
    assert record(run)["steps"] == said["steps"] + 3


def test_the_door_runs_a_frozen_folder(seqlab, tiny: list[str], tmp_path: Path) -> None:
    from seqlab.cli.composing import compose
    from seqlab.freeze import freeze

    os.chdir(tmp_path)
    run = freeze(compose("train", tiny[1:])[0])
    assert record(run)["status"] == "pending"
    done = subprocess.run([sys.executable, "-m", "seqlab.start", str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert record(run)["status"] == "done"


def test_hydras_own_flags_work(seqlab) -> None:
    answer = seqlab("train", "--cfg", "job", "-p", "optimizer")
    assert answer.status == 0
    assert "torch.optim.Adam" in answer.out
    assert not Path("runs").exists()


def test_the_run_remembers_its_data(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    (path,) = record(only_run(tmp_path))["data"]
    assert path == str(tmp_path / "story.txt")
    assert len(record(only_run(tmp_path))["data"][path]) == 64
