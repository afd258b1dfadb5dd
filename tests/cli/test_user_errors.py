"""What users get wrong ends in one sentence with the value, the reason and the remedy, and leaves nothing behind."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from seqlab.device import best_accelerator

WRONG = {
    "train model=gptt": ["model=gptt", "Did you mean gpt"],
    "train modle=gpt": ["modle", "Did you mean model"],
    "train model.hiden_size=3": ["model.hiden_size", "Did you mean model.hidden_size"],
    "train trainer.max_epoch=3": ["trainer.max_epoch", "Did you mean trainer.max_epochs"],
    "train optimizer.lr=fast": ["optimizer.lr=fast", "a number of at least 0"],
    "train optimizer.lr=-1": ["optimizer.lr=-1", "at least 0"],
    "train trainer.max_epochs=-3": ["trainer.max_epochs=-3", "at least 1"],
    "train model.hidden_size=0": ["model.hidden_size=0", "at least 1"],
    "train model.dropout=1.5": ["model.dropout=1.5", "below 1"],
    "train model.hidden_size=3.5": ["model.hidden_size=3.5", "whole number"],
    "train data=verdict model=lstm": [
        "model=lstm and data=verdict do not fit",
        "data=series or sine",
        "model=distilgpt2",
    ],
    "train data=verdict +init_from=1_000": ["init_from=1000 does not fit: it must be text or null"],
    "train model=gpt": [
        "model=gpt and data=sine do not fit",
        "data=code or instruction or shakespeare or text or verdict",
    ],
    "train data=verdict task=forecasting": ["do not fit"],
    "train tokenizer=char": ["tokenizer=char has no effect", "Leave it out"],
    "train adapter=lora": ["adapter=lora has no effect", "Leave it out"],
    "train data=verdict tokenizer=none": ["data=verdict needs a tokenizer", "tokenizer=char"],
    "train data=text": ["data.path is missing"],
    "train data=text data.path=nix.txt tokenizer=char": ["nix.txt", "data.path=<file>"],
    "train data=verdict tokenizer=char paths.data=[nowhere]": [
        "the-verdict.txt",
        "nowhere",
        "network is blocked",
        "data.path=",
    ],
    "train data=text data.path=story.txt paths.data=[nowhere]": ["tiktoken_cache", "tokenizer=byte"],
    "train data=text data.path=story.txt tokenizer=char data.context_length=5000 model=gpt_mini": [
        "tokens",
        "data.context_length=5000",
        "data.batch_size=8",
    ],
    "train data=text data.path=story.txt tokenizer=char model=gpt2 data.context_length=1500 data.val_fraction=0": [
        "model.context_length=1024"
    ],
    "train model=gpt_mini data=text data.path=story.txt tokenizer=char model.n_embd=33 data.context_length=16": [
        "model.n_embd=33",
        "n_head=4",
    ],
    "train model=gpt_mini data=text data.path=story.txt tokenizer=char model.norm=sideways": [
        "model.norm=sideways",
        "pre or post",
    ],
    "train device=mps": ["device=mps", f"device={best_accelerator()}"],
    "train device=cpu trainer.devices=1000": ["trainer.devices=1000", "at most"],
    "train device=ddp trainer.devices=0": ["trainer.devices=0", "such as 2"],
    "train device=ddp trainer.devices=two": ["trainer.devices=two", "such as 2"],
    "train device=ddp trainer.accelerator=tpu": ["device=tpu", f"device={best_accelerator()}"],
    "train device=cpu trainer.num_nodes=2": ["trainer.num_nodes=2", "start=false"],
    "train data.val_fraction=0.2 trainer.val_check_interval=9": [
        "val_check_interval=9",
        "1 batches",
        "every_n_epoch=null",
    ],
    "train lr=1e-3": ["no lr", "Did you mean optimizer.lr?"],
    "train learning_rate=1e-3": ["learning_rate", "Did you mean optimizer.lr?"],
    "train optimizer.learning_rate=1e-3": ["Did you mean optimizer.lr?"],
    "train +lr=3": ["no lr", "Did you mean optimizer.lr?"],
    "train epochs=3": ["epochs", "Did you mean trainer.max_epochs?"],
    "train batch_size=3": ["batch_size", "Did you mean data.batch_size?"],
    "train max_steps=3": ["max_steps", "Did you mean trainer.max_steps?"],
    "train max_time=00:01:00:00": ["max_time", "Did you mean +trainer.max_time?"],
    "train trainer.max_time=00:01:00:00": ["add it with +trainer.max_time=00:01:00:00"],
    "train +callbacks.x={_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val_loss}": [
        "Did you mean val/loss"
    ],
    "train +callbacks.x={_target_:lightning.pytorch.callbacks.EarlyStopping}": ["callbacks.x needs monitor"],
    "train +callbacks.x={_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val/loss} data.val_fraction=0": [
        "monitor=val/loss is never measured without validation"
    ],
    "train +schedule.interval=epoch": ["schedule.interval=epoch has no effect"],
    "train +schedule.monitor=val/loss": ["schedule.monitor=val/loss has no effect"],
    "train schedule=plateau schedule.monitor=val_loss": ["schedule.monitor=val_loss", "Did you mean val/loss"],
    "train schedule=plateau schedule.monitor=null": ["ReduceLROnPlateau follows a metric"],
    "train early_stopping=3": ["Did you mean callbacks.early_stopping.patience?"],
    "train --lr=0.1": ["--lr", "without dashes", "Did you mean optimizer.lr?"],
    "train --epochs 3": ["--epochs", "without dashes", "Did you mean trainer.max_epochs?"],
    "train optimizer.lr = 3": ["without spaces around ="],
    "train device=gpu": ["device=gpu", "cuda or auto"],
    "train paths.runs=/proc/runs": ["/proc/runs cannot be made"],
    "train seed=1e2": ["seed=100.0 must be a whole number: write 100"],
    "train data.val_fraction=0 schedule=plateau": ["schedule.monitor=val/loss is never measured without validation"],
    "train callbacks.early_stopping.monitor=val/mae": ["Did you mean objective.metric?"],
    "train +callbacks.early_stopping.monitor=val/mae": ["Did you mean objective.metric?"],
    "train +callbacks.early_stopping.pateince=3": ["Did you mean patience?"],
    "evaluate +foo=1 run=last": ["There is no foo to set"],
    "generate ++run=nowhere prompt=a": ["nowhere does not exist"],
    "score +paths.foo=1 run=last text=a": ["There is no paths.foo"],
    "export run=last out=a +trainer.foo=1": ["There is no trainer.foo to set"],
    "export run=last +format.x=1 out=a": ["There is no format.x to set. Did you mean format?"],
    "generate run=null prompt=a": ["run=null does not name a run"],
    "evaluate run=[a,b]": ["run=[a,b] does not name a run: give a folder"],
    "serve run=null": ["run=null does not name a run"],
    "train --info": ["seqlab has no option --info"],
    "reproduce run=last device=cpu": ["There is no device to set", "init_from"],
    "train device=cpu trainer.max_epochs=null": ["This run has no end", "trainer.max_steps"],
    "train threads=1000000": ["threads=1000000 does not fit", "at most 1024"],
    "train name=last": ["name=last means another run"],
    "train device=cpu trainer.strategy=ddp_notebook": ["trainer.strategy=ddp_notebook does not fit", "auto or ddp"],
    "train paths.runs=/dev/null": ["/dev/null cannot be made"],
    "train trainer.val_check_interval.seconds=1": ["trainer.val_check_interval"],
    "train model=[gru]": ["model=[gru] is a list, and a run has one model"],
    "train device=[cpu,ddp]": ["a run has one device"],
    "train +optimizer.params=[1]": ["optimizer.params is what seqlab gives"],
    "train +callbacks.checkpoint.run=/tmp/zz": ["callbacks.checkpoint.run is what seqlab gives"],
    "train +callbacks.early_stopping.objective=val/mae": ["callbacks.early_stopping.objective is what seqlab gives"],
    "train paths.data=[1]": ["paths.data=[1] has no meaning"],
    "train +paths.foo=1": ["There is no paths.foo"],
    "train --cfg job -m seed=1,2": ["--cfg prints one config"],
    "train --resolve": ["--resolve says how --cfg job prints"],
    "train --package model": ["--package says how --cfg job prints"],
    "train device=cpu data.length=99999999999": ["There is not enough memory (Unable to allocate 745"],
    "train device=cpu model.hidden_size=10000000": ["There is not enough memory", "plan=true"],
    "train +trainer.max_time={foo:1}": ["is not a time: write DD:HH:MM:SS"],
    "train +trainer.max_time=00:00:00:00": ["leaves nothing to train in"],
    "train trainer.limit_train_batches=0": ["trainer.limit_train_batches=0 does not fit"],
    "train optimizer.lr=inf": ["optimizer.lr=inf does not fit"],
    "train start=maybe": ["start=maybe", "start=false"],
    "reproduce run=nowhere": ["nowhere does not exist"],
    "reproduce": ["run is missing"],
    "train model=rnn,lstm": ["model=rnn,lstm has several values", "type -m"],
    "train seed=range(1,4)": ["seed=range(1,4) has several values", "type -m"],
    "train seed=1,": ["seed=1, cannot be read"],
    "train seed=null": ["seed=null does not fit"],
    "train logger=null": ["logger=null is not an option", "none, tensorboard"],
    "train model=[]": ["model=[] is a list, and a run has one model"],
    "train objective=null": ["There is no objective in this config"],
    "train objective.metric=null": ["objective.metric=null has no meaning"],
    "train paths.runs=null": ["paths.runs=null has no meaning"],
    "train ~model": ["~model removes what every run needs"],
    "train ~trainer.max_steps": ["~trainer.max_steps removes"],
    "train ~model._target_": ["model names no class"],
    "train callbacks.early_stopping=true": [
        "callbacks.early_stopping=True would replace all of callbacks.early_stopping"
    ],
    "train +objective.mod=max": ["There is no objective.mod", "Did you mean mode"],
    "train --config-dir": ["--config-dir names no folder"],
    "train hydra/launcher=slurm": ["hydra/launcher=slurm is for sweeps", "type -m"],
    "train -m seed=1,2 sweep.trials=3": ["sweep.trials=3 is for a search", "sweep.sampler=random"],
    "train -m seed=1,2 device=mps": ["device=mps", f"device={best_accelerator()}"],
    "train -m seed=1,2 allow=[nosuch.pkg] model=nosuch": ["There is no model=nosuch"],
    "train +callbacks.foo=3": ["callbacks.foo=3 would replace"],
    "evaluate run=last split=val,test": ["split=val,test has several values", "give one"],
    "train +trainer.profiler=2 device=cpu": ["profiler=2 is unknown: use", "or null"],
    "train +callbacks.foo=null": ["+callbacks.foo=null adds nothing"],
    "train optimizer._partial_=false": ["optimizer._partial_=False has no effect"],
    "train +model._convert_=all": ["model._convert_=all has no effect"],
    "train ++resume=last": ["resume=last is for the command line"],
    "train schedule=plateau schedule.factor=2": ["schedule.factor=2 does not fit", "below 1"],
    "train schedule=plateau schedule.patience=-1": ["schedule.patience=-1 does not fit", "of at least 0"],
    "train data=text data.path=/proc/self/mem tokenizer=char": ["/mem cannot be read (Input/output error)"],
    "train foo": ["foo is not key=value"],
    "train init_from=nowhere data=verdict": ["init_from=nowhere"],
    "train resume=nowhere": ["nowhere does not exist"],
    "train resume=last": ["There is no run below"],
    "train data.length=10": ["data.length=10"],
    "generate run=last prompt=hi": ["There is no run below"],
    "generate prompt=hi": ["run is missing"],
    "evaluate run=story.txt": ["story.txt is not a run folder"],
    "train optimizer.betas=[0.9]": ["optimizer.betas=[0.9]", "a list of 2, each a number of at least 0 and below 1"],
    "train schedule=[1,2]": ["schedule=[1,2] is a list, and a run has one schedule"],
    "report paths.runs=[a]": ["paths.runs=['a'] has no meaning", "give a folder"],
    "diff a=last b=last paths=null": ["paths=None has no meaning", "paths.runs=<folder>"],
    "train optimizer.lr=${oc.env:NOPE}": ["optimizer.lr refers to NOPE, which there is not", "export it"],
    "train optimizer.lr=${nope}": ["optimizer.lr refers to nope, which there is not"],
    "train seed=99999999999999999999": ["seed=99999999999999999999 does not fit"],
    "train trainer.max_steps=0": ["trainer.max_steps=0 does not fit", "-1 or a whole number of at least 1"],
    "train objective.metric=val/loss data.val_fraction=0": [
        "is never measured without validation",
        "data.val_fraction",
    ],
    "train optimizer=sgd optimizer.nesterov=true device=cpu": ["optimizer: Nesterov momentum requires a momentum"],
    "train +foo=1": ["There is no foo in a run's config"],
    "train hydra.run.dir=out": ["hydra.run.dir=out has no effect", "paths.runs=<folder>"],
    "train -m seed=1,2 hydra.sweep.dir=out": ["hydra.sweep.dir=out has no effect", "paths.runs=<folder>"],
    "train hydra.mode=MULTIRUN": ["hydra.mode=MULTIRUN has no effect", "A sweep is -m"],
    "train hydra.job.chdir=true": ["hydra.job.chdir=true has no effect"],
    "train name=[a]": ["name=['a'] does not fit", "text"],
    "trian": ["trian", "Did you mean train"],
}


@pytest.mark.parametrize("command", WRONG)
def test_a_users_error_ends_in_one_sentence(command: str, seqlab, story: Path) -> None:
    answer = seqlab(*command.split())
    assert answer.status == 1
    (sentence,) = answer.err.strip().splitlines()
    assert sentence.startswith("seqlab: "), answer.err
    for part in WRONG[command]:
        assert part in sentence
    assert "Traceback" not in answer.err
    assert not list(Path("runs").glob("*/*")), "an empty run folder was left"


def test_a_traceback_is_there_when_asked_for(seqlab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert "Traceback" in seqlab("train", "trainer.max_epochs=-3").err


RECORD = {"instruction": "Say it.", "input": "", "output": "It."}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (json.dumps([RECORD] * 20)[:-30], ["is not JSON", "record 20"]),
        (json.dumps([RECORD, {"instruction": "Say it."}]), ["Record 2", "output"]),
        (json.dumps([RECORD, ["no", "object"]]), ["Record 2"]),
        (json.dumps({"instruction": "Say it."}), ["Record 1", "output"]),
        (json.dumps(RECORD) + "\n{", ["is not JSON", "line 2"]),
        (json.dumps([RECORD, RECORD | {"output": "half \ud83d"}]), ["Record 2", "half a character", "output"]),
        (json.dumps([RECORD | {"output": " "}]), ["Record 1", "output"]),
    ],
)
def test_malformed_records_are_named(text: str, parts: list[str], seqlab, tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(text)
    answer = seqlab(
        "train", "data=instruction", "data.path=records.json", "tokenizer=byte", "model=gpt_mini", "device=cpu"
    )
    assert answer.status == 1
    for part in ["records.json", *parts]:
        assert part in answer.err
    assert not list(Path("runs").glob("*/*"))


def test_a_base_must_be_agreed_with(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    (run,) = (tmp_path / "runs").glob("*/*")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    base = ["train", f"init_from={run}", *tiny[1:3], "device=cpu", "trainer.max_steps=1"]
    for words, part in {
        ("tokenizer=byte",): "tokenizer=byte is not the base's, char",
        ("data.context_length=32",): "longer than the base's context of 16",
        ("model=gpt",): "does not agree with the base",
        ("model.n_layer=3",): "model.n_layer=3 does not agree with the base",
        ("adapter=lora", "adapter.targets=[querry]"): "adapter.targets=querry names no layer that can be adapted",
        ("adapter=lora", "adapter.targets=[head]"): "shares its weight",
    }.items():
        answer = seqlab(*base, *words)
        assert answer.status == 1, words
        assert part in answer.err
    assert seqlab(*base, "model.dropout=0.3").status == 0  # only dropout may differ
    assert before == {path: path.read_bytes() for path in before}
    assert len(list((tmp_path / "runs").glob("*/*"))) == 2


def test_prompts_are_rendered_as_the_base_was_trained_on_them(seqlab, tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(json.dumps([RECORD] * 20))
    words = ["train", "data=instruction", "data.path=records.json", "device=cpu", "trainer.max_steps=1"]
    small = ["model=gpt_mini", "model.n_layer=1", "model.n_head=2", "model.n_embd=16", "tokenizer=byte"]
    style = ["data.prompt_style=phi", "data.system_prompt=Be brief, please."]
    assert seqlab(*words, *small, *style, "name=base").status == 0
    answer = seqlab(*words, "init_from=base", "data.prompt_style=chatml")
    assert answer.status == 1
    assert "data.prompt_style=chatml is not that of the base" in answer.err
    assert "which was trained with phi: leave it out, and it follows the base" in answer.err
    assert seqlab(*words, "init_from=base", "name=next").status == 0
    saved = [json.loads((run / "prompt_style.json").read_text()) for run in tmp_path.glob("runs/*/*")]
    assert saved[0] == saved[1]
    assert (saved[0]["name"], saved[0]["system_prompt"]) == ("phi", "Be brief, please.")


def test_a_sweep_has_one_base(seqlab, tiny: list[str]) -> None:
    answer = seqlab(*tiny, "-m", "init_from=one,two")
    assert (answer.status, "init_from=one,two names several bases, and a sweep has one" in answer.err) == (1, True)


def test_a_checkpoint_of_another_architecture_is_refused(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    (checkpoint,) = (tmp_path / "runs").glob("*/*/checkpoints/best.ckpt")
    lonely = checkpoint.rename(tmp_path / "lonely.ckpt")
    answer = seqlab(*tiny, "model.n_embd=32", f"init_from={lonely}")
    assert answer.status == 1
    assert "another architecture" in answer.err
    assert "lonely.ckpt" in answer.err


def test_an_infinite_loss_names_step_and_learning_rate(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "optimizer.lr=1e20", "device=cpu")
    assert answer.status == 1
    assert "at step 2 with learning rate 1e+20" in answer.err
    (run,) = (tmp_path / "runs").glob("*/*")
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["steps"]) == ("failed", 1)
    assert "step 2" in record["error"]


def test_a_limit_on_file_sizes_ends_the_run_and_keeps_what_was_there(tiny: list[str], tmp_path: Path) -> None:
    words = [sys.executable, "-m", "seqlab", *tiny, "model.n_embd=64", "logger=none"]
    limit = 200_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, preexec_fn=limited)
    assert done.returncode == 1
    assert "The disk is full, or a limit on file sizes is reached" in done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (tmp_path / "runs").glob("*/*")
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    assert not list(run.rglob("*.seqlab"))
