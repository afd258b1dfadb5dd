"""Text: windows and splits of The Verdict as published, one shift, and refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.text import TextDataModule, TokenWindowDataset
from seqlab.errors import UserError
from seqlab.tokenizers.byte import ByteTokenizer
from seqlab.tokenizers.gpt2 import GPT2Tokenizer

INPUTS = [
    [40, 367, 2885, 1464],
    [1807, 3619, 402, 271],
    [10899, 2138, 257, 7026],
    [15632, 438, 2016, 257],
    [922, 5891, 1576, 438],
    [568, 340, 373, 645],
    [1049, 5975, 284, 502],
    [284, 3285, 326, 11],
]
TARGETS = [
    [367, 2885, 1464, 1807],
    [3619, 402, 271, 10899],
    [2138, 257, 7026, 15632],
    [438, 2016, 257, 922],
    [5891, 1576, 438, 568],
    [340, 373, 645, 1049],
    [5975, 284, 502, 284],
    [3285, 326, 11, 287],
]


def verdict(shared: Path, **changes: Any) -> TextDataModule:
    data = TextDataModule(str(shared / "the-verdict.txt"), GPT2Tokenizer(folders=[str(shared)]), **changes)
    data.setup()
    return data


def first_tokens(windows: TokenWindowDataset) -> list[int]:
    return windows.__getitems__([0]).inputs[0, :8].tolist()


@pytest.mark.parametrize(("tokens", "count"), [(1, 0), (4, 0), (5, 1), (8, 1), (9, 2), (12, 2), (13, 3)])
def test_window_counts_of_few_tokens(tokens: int, count: int) -> None:
    assert len(TokenWindowDataset(np.arange(tokens), length=4, stride=4)) == count


@given(st.integers(0, 60), st.integers(1, 12), st.integers(1, 12))
def test_windows_are_all_those_that_fit_and_their_targets_one_token_later(count: int, length: int, stride: int) -> None:
    windows = TokenWindowDataset(np.arange(count), length, stride)
    starts = [start for start in range(0, count, stride) if start + length + 1 <= count]
    assert len(windows) == len(starts)
    for number, start in enumerate(starts):
        inputs, targets = (part[0] for part in windows.__getitems__([number])[:2])
        assert inputs.tolist() == list(range(start, start + length))
        assert torch.equal(targets[:-1], inputs[1:])
        assert targets[-1] == start + length
        assert inputs.dtype == targets.dtype == torch.int64


def test_published_windows_of_the_verdict(shared: Path) -> None:
    data = verdict(shared, context_length=4, batch_size=8, val_fraction=0)
    inputs, targets, _ = next(iter(data.split_dataloader("train")))
    assert (inputs.tolist(), targets.tolist()) == (INPUTS, TARGETS)
    tokens = data.splits["train"].tokens
    assert len(tokens) == 5_145
    assert [len(TokenWindowDataset(tokens, *sizes)) for sizes in ((4, 4), (256, 128), (256, 256), (4, 1))] == [
        1286,
        39,
        20,
        5141,
    ]


def test_published_split_of_the_verdict(shared: Path) -> None:
    data = verdict(shared, batch_size=2)
    train, val = data.splits["train"], data.splits["val"]
    assert (len(train.tokens), len(val.tokens), len(train), len(val)) == (4_612, 534, 18, 2)
    assert first_tokens(train) == [40, 367, 2885, 1464, 1807, 3619, 402, 271]
    assert first_tokens(val) == [518, 6, 14707, 588, 257, 2156, 286, 4116]
    batches = [*data.train_dataloader()], [*data.val_dataloader()]
    assert [len(split) for split in batches] == [9, 1]
    assert all(
        part.shape == (2, 256) and part.dtype == torch.int64
        for split in batches
        for batch in split
        for part in batch[:2]
    )
    assert [sum(batch.targets.numel() for batch in split) for split in batches] == [4_608, 512]
    assert data.test_dataloader() == []


def test_splits_are_consecutive_parts_of_the_text(story: Path) -> None:
    data = TextDataModule(str(story), ByteTokenizer(), context_length=8, val_fraction=0.2, test_fraction=0.1)
    data.setup()
    text = story.read_text()
    assert ByteTokenizer().decode([i for part in data.splits.values() for i in part.tokens[:].tolist()]) == text
    sizes = [len(part.tokens) / len(text) for part in data.splits.values()]
    assert sizes == pytest.approx([0.7, 0.2, 0.1], abs=0.001)
    assert (data.vocab_size, data.context_length, data.files) == (257, 8, [story.resolve()])


def test_the_order_of_training_begins_again_with_its_seed(story: Path) -> None:
    def first_batch(seed: int) -> torch.Tensor:
        data = TextDataModule(str(story), ByteTokenizer(), context_length=8, batch_size=4)
        data.sampler_seed = seed
        data.setup()
        return next(iter(data.train_dataloader()))[0]

    assert torch.equal(first_batch(1), first_batch(1))
    assert not torch.equal(first_batch(1), first_batch(2))


def test_splits_never_share_text(story: Path) -> None:
    data = TextDataModule(str(story), ByteTokenizer(), context_length=8, val_fraction=0.6, test_fraction=0.6)
    with pytest.raises(UserError, match="fraction"):
        data.setup()


def test_a_text_too_short_for_one_window_is_refused_with_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("x" * 100)
    with pytest.raises(
        UserError, match=r"train split of short.txt has 90 tokens.*data.context_length=256.*batch_size=8"
    ):
        TextDataModule(str(path), ByteTokenizer()).setup()
    one = tmp_path / "one.txt"
    one.write_text("a")
    with pytest.raises(UserError, match=r"train split of one.txt has 1 tokens.*: use a longer text.$"):
        TextDataModule(str(one), ByteTokenizer(), context_length=1, val_fraction=0.0).setup()
    with pytest.raises(UserError, match=r"val split .* 10 tokens, .* data.val_fraction=0"):
        TextDataModule(str(path), ByteTokenizer(), context_length=20).setup()
    TextDataModule(str(path), ByteTokenizer(), context_length=20, val_fraction=0).setup()


def test_a_sample_begins_with_the_first_words(story: Path) -> None:
    data = TextDataModule(str(story), ByteTokenizer(), context_length=8)
    data.setup()
    assert data.sample_prompt(None) == ("The river ran past", list(b"The river ran past"))
    assert data.sample_prompt("Once") == ("Once", list(b"Once"))


def test_a_tokenizer_learns_from_the_training_split_or_from_all(story: Path) -> None:
    text = story.read_text()
    train = "".join(
        TextDataModule.tokenizer_training_texts("train", path=str(story), val_fraction=0.2, test_fraction=0.1)
    )
    assert text.startswith(train)
    assert len(train) == int(0.7 * len(text))
    assert "".join(TextDataModule.tokenizer_training_texts("all", path=str(story), val_fraction=0.2)) == text


def test_end_tokens_in_a_text_are_characters_unless_told(tmp_path: Path, shared: Path) -> None:
    (tmp_path / "two.txt").write_text("One story.<|endoftext|>Another one." * 3)
    tokenizer = GPT2Tokenizer([str(shared)])

    def tokens(**options: Any) -> list[int]:
        data = TextDataModule(str(tmp_path / "two.txt"), tokenizer, context_length=4, val_fraction=0, **options)
        data.setup()
        return data.splits["train"].tokens[:].tolist()

    assert tokenizer.eos_id not in tokens()
    assert tokens(special_tokens=True).count(tokenizer.eos_id) == 3
    with pytest.raises(UserError, match="ByteTokenizer has no special tokens"):
        TextDataModule("x.txt", ByteTokenizer(), special_tokens=True)
