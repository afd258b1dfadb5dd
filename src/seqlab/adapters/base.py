"""The interface of every adapter. Nobody else knows what an adapter is made of."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from seqlab.errors import UserError
from seqlab.files import read_safetensors, write_atomically

WEIGHTS_FILE = "adapter_model.safetensors"  # PEFT's name


class Adapter(ABC):
    """Freezes a model and adds what is trained instead. A subclass says how to apply, merge and disable it."""

    @abstractmethod
    def apply(self, model: nn.Module) -> nn.Module:
        """Freeze the model and add trainable weights to it; in place. Raises UserError if it does not fit."""

    @abstractmethod
    def merge(self, model: nn.Module) -> nn.Module:
        """Fold the adapter into the weights below it; in place. The result is a model as it was before `apply`."""

    @abstractmethod
    def disabled(self, model: nn.Module) -> AbstractContextManager[None]:
        """A context in which the model computes as it did before `apply`.

        A reference is computed in it, perhaps between a forward and its backward: nothing that autograd has saved may be
        written to.
        """

    def trainable_state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """The adapter's tensors by their names in the model that carries it."""
        return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def list_lr_ratios(self, model: nn.Module) -> dict[str, float]:
        """Of the parameters that have a learning rate of their own, how many times as large it is."""
        return {}

    def save(self, model: nn.Module, folder: Path, metadata: dict[str, str] | None = None) -> None:
        """Write the adapter's tensors to a folder; `metadata` lies in the file's header (`read_metadata`)."""
        self.save_tensors(self.trainable_state_dict(model), folder, metadata)

    def load(self, model: nn.Module, folder: Path) -> nn.Module:
        """Load a saved adapter into a model that carries one; in place. Raises UserError if it does not fit."""
        tensors, own = self.read_tensors(folder), self.trainable_state_dict(model)
        for name in [*own, *tensors]:
            if name not in tensors or name not in own or tensors[name].shape != own[name].shape:
                raise UserError(
                    f"The adapter in {folder} does not fit this model: {name} is missing or has another shape."
                )
        model.load_state_dict(tensors, strict=False)
        return model

    def save_tensors(self, tensors: dict[str, Tensor], folder: Path, metadata: dict[str, str] | None) -> None:
        """Write tensors as safetensors, atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        with write_atomically(folder / WEIGHTS_FILE) as partial:
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, partial, metadata)

    def read_tensors(self, folder: Path) -> dict[str, Tensor]:
        """The tensors of a saved adapter by their names in the model that carries it."""
        return read_safetensors(folder / WEIGHTS_FILE)


def read_metadata(folder: Path) -> dict[str, str]:
    """The metadata that `save` was given."""
    with safe_open(folder / WEIGHTS_FILE, "pt") as file:
        return file.metadata() or {}
