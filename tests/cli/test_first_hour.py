"""What stopped or misled a newcomer in an hour with seqlab, from its README alone."""

import json
from pathlib import Path

import pytest

from seqlab.runs.folder import find_best_job, find_run

GRU = ["model=gru", "device=cpu", "trainer.max_epochs=2", "logger=none"]
GPT = ["model=gpt_mini", "model.n_layer=1", "model.n_head=2", "model.n_embd=16", "device=cpu", "data.context_length=16"]


def said(answer) -> str:
    return " ".join((answer.out + answer.err).split())


def test_the_name_and_the_id_of_a_sweep_mean_its_best_run(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "-m", *GRU, "optimizer.lr=0.02,1e-5", "name=my sweep").status == 0
    (sweep,) = tmp_path.glob("runs/*/*-sweep-*")
    best = find_best_job(sweep)
    assert best.name.startswith("000"), "the one started last is another one"
    for name in ("my sweep", "my-sweep", sweep.name[:8], str(sweep)):
        assert find_run(name, tmp_path / "runs") == best
    assert seqlab("report", f"run={sweep.name[:8]}").status == 0
    assert seqlab("train", *GRU, "name=alone").status == 0
    (run,) = tmp_path.glob("runs/*/*-alone")
    answer = seqlab("report", f"run={run.name[:8]}")
    assert answer.status == 1
    assert "is one run" in said(answer)
    answer = seqlab("train", *GRU, "name=alone")
    assert "name alone is an earlier run's too" in said(answer)
    answer = seqlab("generate", f"run={run}/checkpoints/best.ckpt", "prompt=a")
    assert "is a checkpoint: give its run's folder" in said(answer)


def test_a_run_is_looked_for_below_the_working_folder(seqlab) -> None:
    answer = seqlab("evaluate", "run=mine")
    assert answer.status == 1
    assert "There is no runs here: go to the folder where it was trained" in said(answer)


def test_an_adapter_on_random_weights_is_warned_of(seqlab, story: Path) -> None:
    words = ["data=text", f"data.path={story}", "tokenizer=byte", *GPT, "trainer.max_steps=1"]
    assert "drawn at random" in said(seqlab("train", *words, "adapter=lora"))
    for others in (words, [*words[:2], "adapter=lora", "init_from=last", *words[7:]]):
        answer = seqlab("train", *others)
        assert answer.status == 0, answer.err
        assert "drawn at random" not in said(answer)


def test_records_that_the_bases_tokenizer_cannot_read(seqlab, story: Path, tmp_path: Path) -> None:
    records = [{"instruction": "Say mill.", "output": "mill"}] * 20
    (tmp_path / "records.json").write_text(json.dumps(records))
    assert seqlab("train", "data=text", f"data.path={story}", "tokenizer=char", *GPT, "trainer.max_steps=1").status == 0
    answer = seqlab("train", "data=instruction", "data.path=records.json", "adapter=lora", "init_from=last")
    assert answer.status == 1
    assert "The tokenizer cannot read these records in data.prompt_style=alpaca: The character" in said(answer)


MODELS = """
import torch
from torch import nn


class Narrow(nn.Module):
    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)

    def forward(self, tokens):
        return self.embedding(tokens)


class Misspelt(nn.Module):
    def __init__(self, vocabsize: int) -> None:
        super().__init__()
"""


def test_mistakes_in_a_model_of_ones_own(seqlab, story: Path, tmp_path: Path) -> None:
    (tmp_path / "firstlab.py").write_text(MODELS)
    (tmp_path / "brokenlab.py").write_text("class Broken(\n")
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    (folder / "narrow.yaml").write_text("_target_: firstlab.Narrow\n")
    (folder / "misspelt.yaml").write_text("_target_: firstlab.Misspelt\n")
    (folder / "broken.yaml").write_text("_target_: brokenlab.Broken\n")
    (folder / "tab.yaml").write_text("_target_: firstlab.Narrow\n\twidth: 3\n")
    own = [
        "data=text",
        f"data.path={story}",
        "tokenizer=byte",
        "data.context_length=16",
        "device=cpu",
        "--config-dir",
        "mine",
    ]
    own += ["allow=[firstlab,brokenlab]", "trainer.max_steps=1"]

    def refused(model: str) -> str:
        answer = seqlab("train", f"model={model}", *own)
        assert answer.status == 1
        assert "Traceback" not in answer.err
        return said(answer)

    assert "Narrow gives (8, 16, 8) instead of logits (B, T, V), (8, 16, 257): fix it" in refused("narrow")
    assert "model needs vocabsize: set model.vocabsize=…. Did you mean vocab_size?" in refused("misspelt")
    assert "brokenlab.py, line 1: '(' was never closed; fix it there" in refused("broken")
    assert "tab.yaml is not YAML" in refused("tab")  # which stops nobody who does not choose it
    assert "indent with spaces" in refused("tab")


def test_a_disk_too_small_for_a_checkpoint_is_seen_before_training(seqlab, monkeypatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    answer = seqlab("train", *GRU)
    assert answer.status == 1
    assert "The checkpoints of 3,393 parameters need about 0.0 GB, and 0.0 GB are free" in said(answer)
    assert seqlab("train", *GRU, "callbacks.checkpoint=null").status == 0


def test_a_sweep_over_tokenizers_says_how_to_rank_them(seqlab, story: Path) -> None:
    words = ["-m", "data=text", f"data.path={story}", "tokenizer=byte,char", *GPT, "trainer.max_steps=1"]
    assert "rank by bits per byte" in said(seqlab("train", *words))
    answer = seqlab("train", *words, "objective.metric=val/bits_per_byte")
    assert answer.status == 0, answer.err
    assert "rank by bits per byte" not in said(answer)


def test_a_job_refused_for_what_was_typed_is_not_to_be_resumed(seqlab) -> None:
    answer = seqlab("train", "-m", *GRU[1:], "model=gru,gur")
    assert answer.status == 1
    assert "1 refused for what was typed: type what they should be in a sweep of their own" in said(answer)
    assert "sweep.resume=" not in answer.out.split("report")[-1]


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("train model=RNN", "Did you mean rnn?"),
        ("train rnn", "did you mean model=rnn"),
        ("evaluate last", "did you mean run=last"),
        ("train mine.yaml", "type experiment=mine --config-dir mine"),
        ("train data.path=notes.txt", "data=text data.path=<text>"),
        ("train --resume last", "Did you mean resume=…?"),
        ("train run=last", "resume=<run>, to continue it"),
        ("train --cfg", "type --cfg job"),
        ("generate run=last prompt=a temp=0.8", "Did you mean temperature?"),
        ("train init_from=gpt2 data=verdict", "hf:<owner>/<model>"),
        ("train data=series data.path=my.csv data.columns=load", "write data.columns=[load]"),
        ("train trainer.precision=fp16", "or 16 or 32 or 64 or bf16"),
    ],
)
def test_what_newcomers_type_is_answered_with_what_to_type(command: str, remedy: str, seqlab) -> None:
    answer = seqlab(*command.split())
    assert answer.status == 1
    assert remedy in said(answer)


def test_help_of_a_verb_is_asked_for_in_two_ways(seqlab) -> None:
    assert seqlab("help", "evaluate").out == seqlab("evaluate", "--help").out
    assert "lstm" in seqlab("help", "train").out
    assert "(default)" in seqlab("help", "train").out


def test_a_yaml_that_only_hydra_reads_is_refused_unseen(seqlab, tmp_path: Path) -> None:
    """A tag that no SafeLoader knows must not hide what Hydra would instantiate."""
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    hidden = "hydra: {callbacks: {x: {_target_: os.mkdir, path: made}}}"
    (folder / "evil.yaml").write_text(
        f"# @package _global_\nkey: !!python/object/apply:pathlib.PosixPath [a]\n{hidden}\n"
    )
    (folder / "front.yaml").write_text("# @package _global_\ndefaults: [evil]\n")
    for words in (["experiment=front"], ["+experiment=evil"], []):
        answer = seqlab("train", *GRU, *words, "--config-dir", "mine")
        assert answer.status == 1
        assert "evil.yaml" in answer.err
        assert not (tmp_path / "made").exists()
