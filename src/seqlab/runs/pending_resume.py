"""A resume before its first step: what it was told lies in `.resume.json`; config.yaml and run.json are as they were."""

from pathlib import Path
from typing import Any

from seqlab.files import read_json, write_json
from seqlab.runs.folder import read_config, write_config
from seqlab.runs.run_info import read_run_info, update_run_info

FILE_NAME = ".resume.json"


def write_pending_resume(run: Path, config: dict[str, Any], overrides: list[str]) -> None:
    """Ask for a resume with this config, which the overrides have changed."""
    write_json(run / FILE_NAME, {"config": config, "overrides": overrides})


def is_resume_pending(run: Path) -> bool:
    """True if a resume was asked for and has made no step."""
    return (run / FILE_NAME).is_file()


def read_config_to_train(run: Path) -> dict[str, Any]:
    """The config of the resume that was asked for, else config.yaml. Raises UserError if it is damaged."""
    return read_json(run / FILE_NAME)["config"] if is_resume_pending(run) else read_config(run)


def commit_resume(run: Path, config: dict[str, Any]) -> None:
    """Write the config that is trained with into config.yaml, and into run.json what the resume was told."""
    if not is_resume_pending(run):
        return
    overrides, info = read_json(run / FILE_NAME)["overrides"], read_run_info(run)
    write_config(run, config)
    update_run_info(run, overrides=[*info["overrides"], *overrides], resumed=[*(info["resumed"] or []), overrides])
    discard_resume(run)


def discard_resume(run: Path) -> None:
    """Forget what was asked for."""
    (run / FILE_NAME).unlink(missing_ok=True)
