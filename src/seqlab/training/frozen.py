"""Which weights of a model are not trained."""

from torch import nn

from seqlab.errors import UserError, did_you_mean


def freeze_parameters(model: nn.Module, freeze: int | list[str] | None) -> None:
    """Freeze, in place, the first blocks (a number of them), or what stands below names such as `token_embedding`, `blocks.0`.

    Raises UserError for a name that the model does not have, for more blocks than it has, and if nothing is left to train.
    """
    if freeze is None:
        return
    if not freeze:
        raise UserError(f"freeze={freeze} names nothing: leave it out.")
    names = [f"blocks.{number}" for number in range(freeze)] if isinstance(freeze, int) else freeze
    named = dict(model.named_parameters(remove_duplicate=False))  # a tied head has its name too
    for name in names:
        found = [parameter for key, parameter in named.items() if f"{key}.".startswith(f"{name}.")]
        if not found:
            blocks = len(getattr(model, "blocks", ()))
            if isinstance(freeze, int):
                example = next(iter(named)).rpartition(".")[0] or next(iter(named))
                others = f" Its parts have other names: type them, such as freeze=[{example}]."
                hint = f" It has {blocks} blocks." if blocks else others
            else:
                parts = [key.split(".") for key in named]
                hint = did_you_mean(name, {".".join(part[: depth + 1]) for part in parts for depth in range(len(part))})
            raise UserError(f"freeze={freeze} names {name}, which {type(model).__name__} does not have.{hint}")
        for parameter in found:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in named.values()):
        raise UserError(f"freeze={freeze} leaves nothing to train: name less.")
