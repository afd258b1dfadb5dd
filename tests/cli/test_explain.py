"""explain=true says behind every value where it is from."""

import re

import pytest
import yaml


def origins(out: str) -> dict[str, str]:
    """The comment behind each leaf, by its dotted key."""
    found, path = {}, []
    for line in out.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        key, _, rest = line.strip().partition(":")
        path = [*path[:depth], key]
        if "  # " in rest:
            found[".".join(path)] = rest.split("  # ", 1)[1]
    return found


def test_every_value_has_its_source(seqlab, tmp_path) -> None:
    answer = seqlab(
        "train", "experiment=sine", "optimizer.lr=0.003", "callbacks.early_stopping.patience=2", "explain=true"
    )
    assert answer.status == 0, answer.err
    config, said = yaml.safe_load(answer.out), origins(answer.out)
    assert config["optimizer"]["lr"] == 0.003
    assert (
        said["optimizer.lr"]
        == "command line; replaces 0.01 of optimizer/forecasting.yaml, 0.001 of optimizer/adam.yaml"
    )
    assert said["data.seed"] == "experiment/sine.yaml, as ${seed}; replaces 0 of data/sine.yaml"
    assert said["trainer.accelerator"] == "device/cpu.yaml"
    assert said["threads"] == "task/forecasting.yaml; replaces null of train.yaml"
    assert said["objective.metric"].startswith("seqlab, on this machine")
    assert said["callbacks.early_stopping.patience"] == "command line; replaces null of callbacks/default.yaml"
    assert said["tokenizer"] == "the option none"
    assert all(said.values())
    assert not (tmp_path / "runs").exists()


def test_it_is_the_config_that_would_be_frozen(seqlab, tmp_path) -> None:
    words = ["train", "model=gru", "model.hidden_size=5", "trainer.max_epochs=1", "device=cpu"]
    explained = yaml.safe_load(seqlab(*words, "explain=true").out)
    assert seqlab(*words).status == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert explained == yaml.safe_load((run / "config.yaml").read_text())


def test_yamls_of_ones_own_are_named(seqlab, tmp_path) -> None:
    file = tmp_path / "mine" / "model" / "small.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("_target_: seqlab.models.rnn.GRUForecaster\nhidden_size: 4\nnum_layers: 1\ndropout: 0.0\n")
    answer = seqlab("train", "model=small", "--config-dir", "mine", "device=cpu", "explain=true")
    assert re.search(r"hidden_size: 4 +# mine/model/small.yaml", answer.out), answer.err


@pytest.mark.parametrize(
    ("words", "lr", "weight_decay"),
    [
        ([], 4e-4, 0.1),
        (["optimizer=sgd"], 0.01, 0.0),
        (["optimizer=adamw"], 1e-3, 0.01),
        (["optimizer=own"], 0.123, 0.5),
    ],
)
def test_a_chosen_optimizer_keeps_its_own_values(words, lr: float, weight_decay: float, seqlab, tmp_path) -> None:
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    text = "_target_: torch.optim.RMSprop\n_partial_: true\nlr: 0.123\nweight_decay: 0.5\n"
    (tmp_path / "mine" / "optimizer" / "own.yaml").write_text(text)
    answer = seqlab("train", "data=verdict", *words, "explain=true", "--config-dir", "mine")
    optimizer = yaml.safe_load(answer.out)["optimizer"]
    assert (optimizer["lr"], optimizer["weight_decay"]) == (lr, weight_decay)


def test_a_chosen_schedule_keeps_its_own_values(seqlab) -> None:
    answer = seqlab("train", "data=instruction", "schedule=cosine", "explain=true")
    assert yaml.safe_load(answer.out)["schedule"]["warmup_steps"] == 0


def test_what_was_chosen_along_is_said_in_one_line(seqlab, tiny: list[str]) -> None:
    answer = seqlab(*tiny)
    first = "recipe      task=pretraining callbacks=language optimizer=pretraining"
    (line,) = [line for line in answer.out.splitlines() if line.startswith("recipe")]
    assert line.startswith(first)
    assert line.endswith("optimizer.lr=0.0004 optimizer.weight_decay=0.1 trainer.max_epochs=10 data.batch_size=8")
    answer = seqlab(*tiny, "optimizer.lr=1e-3", "data.batch_size=4")
    assert "optimizer.weight_decay=0.1 trainer.max_epochs=10\n" in answer.out  # what was typed is not said
    answer = seqlab("train", "trainer.max_epochs=1", "device=cpu")
    assert "recipe" not in answer.out
