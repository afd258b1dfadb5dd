"""Folders of the Hugging Face hub, by the library huggingface_hub: its cache, its token, its offline switch, `HF_ENDPOINT`."""

from pathlib import Path

from seqlab.errors import UserError
from seqlab.files import expand_path

PREFIX = "hf:"
FILES = ["*.json", "*.safetensors", "*.jinja", "merges.txt"]  # nothing that would be unpickled


def find_folder(name: str) -> Path:
    """The folder that a name means: `hf:<owner>/<model>[@<revision>]` is downloaded once, anything else is a path.

    Raises UserError for a model that is not there, and a hub that cannot be reached.
    """
    return download_from_hub(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else expand_path(name)


def download_from_hub(name: str) -> Path:
    """The folder of a hub's model in the cache of the library. Raises UserError."""
    try:
        from huggingface_hub import constants, errors, snapshot_download
    except ModuleNotFoundError:
        raise UserError(f"{PREFIX}{name} needs huggingface_hub: pip install 'seqlab[hf]'.") from None
    model, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(model, revision=revision or None, allow_patterns=FILES, ignore_patterns=["*/*"]))
    except errors.HFValidationError as error:
        raise UserError(f"{PREFIX}{name} is not a name of a model: write {PREFIX}<owner>/<model>.") from error
    except errors.GatedRepoError as error:
        raise UserError(
            f"{PREFIX}{name} is only for those who accepted its terms: do so on its page, and type hf auth login."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{constants.ENDPOINT} has no model {model}: check the name; one of your own needs hf auth login."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{model} has no revision {revision}: give a branch, a tag or a commit of it.") from error
    except errors.LocalEntryNotFoundError as error:
        raise UserError(
            f"{constants.ENDPOINT} cannot be reached, and {model} is not in the cache: connect to it, or copy the folder here "
            "and name it."
        ) from error
    except Exception as error:  # of the network, in the middle of a file
        raise UserError(
            f"{PREFIX}{name} was not downloaded ({str(error).splitlines()[0][:120] if str(error) else type(error).__name__}): "
            "type the command again, and it continues from what it has."
        ) from error
