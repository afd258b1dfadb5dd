"""Weights in Hugging Face format. A module is a family, named by the `model_type` of its config.json; `other` is all the rest.

It has the name of its `MODEL`; `config_to_node` and `node_to_config`, from config.json to a model's node and back; `from_hf` and
`to_hf`, from its names of tensors to those of the model and back (or `read_tensors(folder)`, if a library reads them);
for adapters `name_layer`, from a layer of the model to its name and to what lies side by side in it, and `TRANSPOSED`, the names
of weights that are (in, out); and the node of its `TOKENIZER` with the files that this needs, if that is not `tokenizer.json`.
"""

from typing import Any

from seqlab.errors import UserError


def check_values(config: dict[str, Any], supported: dict[str, list[Any]], path: str, family: str) -> None:
    """Refuse a value of config.json that would be read without an error, and wrongly. The first of each list is the default.

    Raises UserError.
    """
    for key, values in supported.items():
        if config.get(key, values[0]) not in values:
            raise UserError(
                f"{path} has {key}={config.get(key)}; init_from reads {family} folders with {key}="
                f"{' or '.join(map(str, values))}."
            )


def unknown_tensor(name: str, family: str) -> UserError:
    """The error of a tensor that the family's model has no place for."""
    return UserError(
        f"The weights have a tensor {name}, which {family} does not: init_from reads {family} folders only."
    )
