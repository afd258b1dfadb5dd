"""A config file alone never runs code: every verb and the door refuse what lies outside the allowed packages."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seqlab.config import targets
from seqlab.errors import UserError

FORBIDDEN = [
    "os.system",
    "numpy.load",
    "logging.FileHandler",
    "torch.optim.optimizer.torch.load",
    "seqlab.models.gpt.torch.hub.load",
    "seqlab.runs.folder.remove",
    "subprocess.Popen",
    "torch.load",
    "mylab.Anything",
    "lightning.pytorch.LightningModule.load_from_checkpoint",
    "lightning.pytorch.core.saving._load_from_checkpoint",
    "torch.optim.swa_utils.update_bn",
    "torch.nn.utils.clip_grad_norm_",
    "torch.nn.modules.module._load_from_state_dict",
]


@pytest.mark.parametrize("group", targets.ALLOWED_PACKAGES)
@pytest.mark.parametrize("target", FORBIDDEN)
def test_nothing_outside_its_packages_is_resolved(group: str, target: str) -> None:
    with pytest.raises(UserError):
        targets.resolve_target(target, group)


@pytest.mark.parametrize("target", FORBIDDEN)
def test_a_yaml_that_names_it_is_refused(target: str, seqlab, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(f"_target_: {target}\ncommand: touch {tmp_path}/ran\n")
    answer = seqlab("train", "model=evil", "--config-dir", str(tmp_path / "mine"))
    assert answer.status == 1
    assert target in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "runs").exists()


def test_nested_targets_are_seen_too(seqlab) -> None:
    answer = seqlab("train", "+model.extra={_target_: os.system, command: 'touch ran'}")
    assert answer.status == 1
    assert "os.system" in answer.err
    assert not Path("ran").exists()


def test_targets_outside_the_groups_are_refused(seqlab) -> None:
    answer = seqlab("train", "+mine={_target_: torch.nn.Linear}")
    assert answer.status == 1
    assert "mine" in answer.err


@pytest.mark.parametrize("way", ["train", "evaluate", "generate", "door", "init_from"])
def test_a_tampered_run_folder_is_refused(way: str, seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    (run,) = (tmp_path / "runs").glob("*/*")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["optimizer"] = {"_target_": "os.system", "command": f"touch {tmp_path}/ran"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    if way == "door":
        words = [sys.executable, "-m", "seqlab.start", str(run)]
        done = subprocess.run(words, capture_output=True, text=True)
        status, err = done.returncode, done.stderr
    else:
        commands = {
            "train": ("train", f"resume={run}", "trainer.max_epochs=3"),
            "evaluate": ("evaluate", f"run={run}", "split=val"),
            "generate": ("generate", f"run={run}", "prompt=The"),
            "init_from": ("train", f"init_from={run}", *tiny[1:3]),
        }
        status, _, err = seqlab(*commands[way])
    assert status == 1
    assert "os.system" in err
    assert "Traceback" not in err
    assert not (tmp_path / "ran").exists()
    assert json.loads((run / "run.json").read_text())["status"] == "done"


def test_a_config_may_not_allow_itself_a_package(seqlab, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text("# @package _global_\nallow: [os]\nmodel: {_target_: os.system}\n")
    answer = seqlab("train", "experiment=evil", "--config-dir", str(tmp_path / "mine"))
    assert answer.status == 1
    assert "may not allow packages itself" in answer.err


@pytest.mark.parametrize(
    "text",
    [
        "# @package _global_\nhydra: {callbacks: {evil: {_target_: os.system, command: touch ran}}}\n",
        "# @package hydra.callbacks\nevil: {_target_: os.system, command: touch ran}\n",
        "# @package _global_\ndefaults: [{override /hydra/launcher: evil}]\n",
        "# @package _global_\n# @package hydra.callbacks\nevil: {_target_: pathlib.Path.touch, self: ran}\n",
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_a_yaml_may_not_touch_hydra(linked: bool, text: str, seqlab, tmp_path: Path) -> None:
    folder = tmp_path / ("elsewhere" if linked else "mine") / "experiment"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(text)
    if linked:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "experiment").symlink_to(folder)
    answer = seqlab("train", "experiment=evil", "--config-dir", str(tmp_path / "mine"))
    assert answer.status == 1
    assert "touches Hydra's own configuration" in answer.err
    assert not Path("ran").exists()


def test_a_trainer_may_not_load_a_file(seqlab, tmp_path: Path) -> None:
    (tmp_path / "mine" / "trainer").mkdir(parents=True)
    load = "{_target_: lightning.pytorch.LightningModule.load_from_checkpoint, checkpoint_path: x, weights_only: false}"
    (tmp_path / "mine" / "trainer" / "quick.yaml").write_text(f"defaults: [default, _self_]\nprofiler: {load}\n")
    answer = seqlab("train", "trainer=quick", "--config-dir", str(tmp_path / "mine"))
    assert answer.status == 1
    assert (
        "trainer.profiler names lightning.pytorch.LightningModule.load_from_checkpoint, which is outside" in answer.err
    )


REPLACING = [
    "--config-path mine",
    "--config-name=x",
    "--config-di mine",
    "--experimental-rerun x.pickle",
    "hydra.searchpath=[/tmp]",
]


@pytest.mark.parametrize("words", [line.split() for line in REPLACING])
def test_seqlabs_own_configs_are_not_replaced(words: list[str], seqlab) -> None:
    answer = seqlab("train", *words)
    assert answer.status == 1
    assert "--config-dir" in answer.err


def test_allow_is_typed_and_then_works(seqlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mylab.py").write_text("import torch.optim\n\nclass Mine(torch.optim.SGD):\n    pass\n")
    folder = tmp_path / "mine" / "optimizer"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("_target_: mylab.Mine\n_partial_: true\nlr: 0.1\n")
    words = ["train", "optimizer=mine", "--config-dir", str(tmp_path / "mine"), "trainer.max_epochs=1", "device=cpu"]
    assert seqlab(*words).status == 1
    assert seqlab(*words, "allow=[mylab]").status == 0


@pytest.mark.parametrize("verb", ["generate", "evaluate", "train", "init_from"])
@pytest.mark.parametrize("nested", [False, True])
def test_an_interpolation_in_a_run_folder_is_text(
    nested: bool, verb: str, seqlab, tiny: list[str], tmp_path: Path
) -> None:
    assert seqlab(*tiny).status == 0
    (run,) = (tmp_path / "runs").glob("*/*")
    config = yaml.safe_load((run / "config.yaml").read_text())
    evil = "${oc.create:'{_target_: os.mkdir, path: " + str(tmp_path / "ran") + "}'}"
    if nested:
        config["trainer"]["profiler"] = {"_target_": "lightning.pytorch.profilers.SimpleProfiler", "filename": evil}
    else:
        config["model"]["dropout"] = evil
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    words = {
        "generate": ["generate", f"run={run}", "prompt=The"],
        "evaluate": ["evaluate", f"run={run}", "split=val"],
        "train": ["train", f"resume={run}", "trainer.max_epochs=3"],
        "init_from": ["train", f"init_from={run}", *tiny[1:3], "trainer.max_steps=1"],
    }
    with contextlib.suppress(TypeError, OSError):  # a text is no probability
        seqlab(*words[verb])
    assert not (tmp_path / "ran").exists()
