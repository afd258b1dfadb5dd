"""The word tokenizer: the vocabulary and ids of REFERENCE, unknown words, and what it loses."""

from pathlib import Path

import pytest

from seqlab.tokenizers.word import PIECES, WordTokenizer, split_words

OPENING = "I HAD always thought Jack Gisburn rather a cheap genius--though a good fellow"
OPENING_IDS = [53, 44, 149, 1003, 57, 38, 818, 115, 256, 486, 6, 1002, 115, 500, 435]


def test_the_vocabulary_of_the_verdict(shared: Path) -> None:
    text = (shared / "the-verdict.txt").read_text()
    with_space = [piece for piece in PIECES.split(text) if piece]
    assert (len(with_space), len(set(with_space))) == (8_405, 1_132)
    assert (len(split_words(text)), len(set(split_words(text)))) == (4_690, 1_130)
    tokenizer = WordTokenizer([text])
    assert (tokenizer.eos_id, tokenizer.unknown_id, tokenizer.vocab_size) == (1130, 1131, 1132)
    assert tokenizer.encode(OPENING) == OPENING_IDS
    assert tokenizer.decode(OPENING_IDS) == OPENING.replace("--", " -- ")


def test_what_it_loses() -> None:
    tokenizer = WordTokenizer(["One note a day, two a habit. One more!"])
    assert tokenizer.decode(tokenizer.encode("two  notes\n a day , One!")) == "two <|unk|> a day, One!"
    assert tokenizer.encode("two dogs")[1] == tokenizer.unknown_id
    assert tokenizer.decode([tokenizer.eos_id, *tokenizer.encode("a day")]).strip() == "a day"
    assert not hasattr(tokenizer, "byte_lengths")


def test_rare_words_may_stay_unknown() -> None:
    tokenizer = WordTokenizer(iter(["a b a", "b c"]), min_count=2)
    assert tokenizer.words == ["a", "b"]
    assert tokenizer.encode("a b c") == [0, 1, 3]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    tokenizer = WordTokenizer(["naïve — “notes”, a day"])
    tokenizer.save(tmp_path)
    again = WordTokenizer.load(tmp_path)
    assert (again.words, again.eos_id, again.vocab_size) == (tokenizer.words, tokenizer.eos_id, tokenizer.vocab_size)
    (tmp_path / "words.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a list of words"):
        WordTokenizer.load(tmp_path)


def test_a_prompt_without_words_is_refused(seqlab, story: Path) -> None:
    words = [
        "data=text",
        "data.path=story.txt",
        "tokenizer=word",
        "model=gpt_mini",
        "data.context_length=8",
        "device=cpu",
    ]
    assert seqlab("train", *words, "trainer.max_steps=1", "callbacks.samples=null").status == 0
    answer = seqlab("generate", "run=last", "prompt=  ")
    assert answer.status == 1
    assert "has no token in this tokenizer" in answer.err
