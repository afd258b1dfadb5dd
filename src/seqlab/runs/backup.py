"""Config and record of a run as they were before a resume, put back if that makes no step."""

import shutil
from pathlib import Path

from seqlab.files import write_atomically
from seqlab.runs.run_info import FILE_NAME

FILES = ("config.yaml", FILE_NAME)


def backup_folder(run: Path) -> Path:
    """Where they are kept."""
    return run / ".before-resume"


def save_backup(run: Path) -> None:
    """Keep them."""
    with write_atomically(backup_folder(run)) as partial:
        partial.mkdir()
        for name in FILES:
            shutil.copy2(run / name, partial / name)


def restore_backup(run: Path) -> bool:
    """Put them back; False if none are kept."""
    if not (backup_folder(run)).is_dir():
        return False
    for name in FILES:
        with write_atomically(run / name) as partial:
            shutil.copy2(backup_folder(run) / name, partial)
    remove_backup(run)
    return True


def remove_backup(run: Path) -> None:
    """Forget them: the resumed run has made a step."""
    shutil.rmtree(backup_folder(run), ignore_errors=True)
