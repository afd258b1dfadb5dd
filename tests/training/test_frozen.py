"""Frozen weights stay as they were, bit for bit, and what is trained is said."""

from pathlib import Path

import pytest
import torch

from seqlab.errors import UserError
from seqlab.models.gpt import GPT
from seqlab.training.frozen import freeze_parameters


def tiny(**changes: object) -> GPT:
    return GPT(**{"vocab_size": 10, "context_length": 8, "n_layer": 3, "n_head": 2, "n_embd": 8, **changes})


def trained(model: GPT) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_the_first_blocks_or_what_is_named() -> None:
    model = tiny()
    everything = trained(model)
    freeze_parameters(model, 2)
    assert everything - trained(model) == {name for name in everything if name.startswith(("blocks.0.", "blocks.1."))}
    model = tiny()
    freeze_parameters(model, ["token_embedding", "blocks.2.attention.key.weight"])
    assert everything - trained(model) == {"token_embedding.weight", "blocks.2.attention.key.weight"}
    model = tiny(tie_embeddings=True)
    freeze_parameters(model, ["head"])
    assert not model.token_embedding.weight.requires_grad


def test_blocks_of_another_name_are_said() -> None:
    model = torch.nn.ModuleDict({"layers": torch.nn.ModuleDict({"first": torch.nn.Linear(2, 2)})})
    with pytest.raises(UserError, match=r"Its parts have other names: type them, such as freeze=\[layers.first\]"):
        freeze_parameters(model, 1)
    with pytest.raises(UserError, match=r"Did you mean layers.first"):
        freeze_parameters(model, ["layers.fist"])


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (4, r"freeze=4 names blocks.3, which GPT does not have. It has 3 blocks."),
        (["token_embeding"], "names token_embeding, .* Did you mean token_embedding"),
        (["block"], "names block, "),
        ([], "names nothing"),
        (["token_embedding", "position_embedding", "blocks", "norm", "head"], "leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_said(freeze: int | list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        freeze_parameters(tiny(), freeze)


def test_frozen_weights_are_the_bases_bit_for_bit_also_when_resumed(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny, "name=base").status == 0
    words = [*tiny, "init_from=base", "freeze=[token_embedding,blocks.0.attention]", "trainer.max_steps=3"]
    answer = seqlab(*words, "name=tuned")
    assert answer.status == 0, answer.err
    assert " trained (" in answer.out
    assert seqlab("train", "resume=tuned", "trainer.max_steps=5").status == 0
    base, tuned = (
        torch.load(next(tmp_path.glob(f"runs/*/*-{name}/checkpoints/last.ckpt")), weights_only=True)["state_dict"]
        for name in ("base", "tuned")
    )
    same = {name for name in base if torch.equal(base[name], tuned[name])}
    frozen = ("model.token_embedding", "model.head", "model.blocks.0.attention")  # the head is tied
    assert same == {name for name in base if name.startswith(frozen)}
    refused = seqlab("train", "resume=tuned", "freeze=1", "trainer.max_steps=6")
    assert "freeze=1 cannot be changed in a run" in refused.err


def test_a_plan_counts_what_is_trained_and_an_adapter_freezes_by_itself(seqlab, tiny: list[str]) -> None:
    plain, frozen = (seqlab(*tiny, *more, "plan=true").out for more in ([], ["freeze=1"]))
    assert plain != frozen
    answer = seqlab(*tiny, "freeze=1", "adapter=lora")
    assert "freeze=1 has no effect: an adapter freezes all other weights" in answer.err
