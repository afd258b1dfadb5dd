"""What build.py gives to whom, and whose error a constructor's is."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.build import build_model, build_schedule, instantiate_node
from seqlab.errors import UserError

CODE = """
from lightning.pytorch import Callback
from torch import nn
from seqlab.errors import UserError


class Given(Callback):
    def __init__(self, run, config, objective, tokenizer, adapter, seed=7, other="mine"):
        self.given = dict(locals())


class Sized(nn.Module):
    def __init__(self, vocab_size=None, seed=None, size=1):
        super().__init__()
        self.vocab_size, self.seed = vocab_size, seed
        if size == 13:
            raise ValueError("size=13 brings bad luck; use 12.")
        if size == 14:
            raise UserError("size=14 is more than 13; use 12.")
        self.layers = [nn.Linear(1, 1)][size - 1]
"""


@pytest.fixture
def mylab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the user's, which is allowed."""
    (tmp_path / "mylab.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("SEQLAB_ALLOW", "mylab")


INJECTED: dict[str, Any] = {"run": Path("r"), "config": {}, "objective": None, "tokenizer": None, "adapter": None}


@pytest.mark.usefixtures("mylab")
def test_a_callback_is_given_what_it_names() -> None:
    given = instantiate_node({"_target_": "mylab.Given"}, "callbacks", **INJECTED, seed=3, unasked="x").given
    assert (given["run"], given["seed"], given["other"]) == (Path("r"), 3, "mine")


@pytest.mark.usefixtures("mylab")
@pytest.mark.parametrize("seed", [5, None])
def test_a_value_of_the_config_is_never_replaced(seed: int | None) -> None:
    node = {"_target_": "mylab.Given", "seed": seed, "config": "mine"}
    given = instantiate_node(node, "callbacks", **INJECTED, seed=3).given
    assert (given["seed"], given["config"]) == (seed, "mine")


def test_a_librarys_class_is_given_nothing() -> None:
    node = {"_target_": "lightning.pytorch.callbacks.Timer", "duration": "00:00:01:00"}
    assert instantiate_node(node, "callbacks", interval="epoch", verbose=False)._interval == "step"
    model = build_model({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}, {"bias": False})
    assert model.bias is not None


@pytest.mark.usefixtures("mylab")
def test_a_model_is_given_the_datas_properties_and_not_the_runs_seed() -> None:
    model: Any = build_model({"_target_": "mylab.Sized"}, {"vocab_size": 11, "window": 3}, seed=4)
    assert (model.vocab_size, model.seed) == (11, None)
    with pytest.raises(UserError, match="vocab_size=5, the data have 11"):
        build_model({"_target_": "mylab.Sized", "vocab_size": 5}, {"vocab_size": 11})


@pytest.mark.usefixtures("mylab")
@pytest.mark.parametrize(
    ("size", "error", "text"),
    [
        (13, ValueError, "size=13 brings"),
        (14, UserError, "model.size=14 is more than 13"),
        (15, IndexError, "list index out of range"),
    ],
)
def test_errors_of_a_users_constructor_stay_theirs(size: int, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        build_model({"_target_": "mylab.Sized", "size": size}, {})
    assert type(caught.value) is error


@pytest.mark.usefixtures("mylab")
def test_on_the_command_line_they_keep_their_traceback(seqlab: Callable, tmp_path: Path, tiny: list[str]) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "sized.yaml").write_text("_target_: mylab.Sized\nsize: 15\n")
    words = [word for word in tiny if not word.startswith("model")] + ["--config-dir", "mine", "model=sized"]
    with pytest.raises(IndexError):
        seqlab(*words)
    answer = seqlab(*words, "model.size=14")
    assert answer.status == 1
    assert "seqlab: model.size=14 is more than 13; use 12." in answer.err


def test_what_a_library_refuses_is_the_users_to_fix() -> None:
    with pytest.raises(UserError, match=r"^model: .*dropout"):
        instantiate_node({"_target_": "torch.nn.Dropout", "p": 3}, "model")


def test_a_schedule_of_torchs_is_not_given_the_steps() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    make = build_schedule({"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 2, "_partial_": True})
    assert make(optimizer, total_steps=9).step_size == 2
