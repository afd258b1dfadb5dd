"""Completions: together as alone, stop strings, several samples, and what waits for a row."""

from collections.abc import Callable
from typing import Any

import pytest

from seqlab.errors import UserError
from seqlab.serving.completions import CompletionBatch
from seqlab.serving.language import encode_prompt, start_completions

PROMPTS = ["One", "Two and a longer one", "3", "four four four", "日本"]
DRAWN: dict[str, Any] = {"temperature": 1.0, "top_p": 0.95, "max_new_tokens": 30}


@pytest.mark.parametrize("kind", ["gpt", "gru", "uncached"])
@pytest.mark.parametrize("options", [{"max_new_tokens": 30}, DRAWN])
def test_texts_are_the_same_in_company(kind: str, options: dict, make_run: Callable) -> None:
    run = make_run(kind)
    together = run.complete(PROMPTS, **options)
    assert [completion.text for completion in together] == [run.generate(prompt, **options) for prompt in PROMPTS]


def test_each_sample_can_be_had_alone_by_its_seed(make_run: Callable) -> None:
    run = make_run()
    samples = run.complete(["One"], n=4, seed=5, **DRAWN)
    alone = [run.generate("One", seed=seed, **DRAWN) for seed in (5, 6, 7, 8)]
    assert [sample.text for sample in samples] == alone
    assert len(set(alone)) == 4


@pytest.mark.parametrize("max_rows", [1, 2, 3])
def test_what_has_no_row_waits(max_rows: int, make_run: Callable) -> None:
    run = make_run()
    completions = start_completions(run, [encode_prompt(run, prompt) for prompt in PROMPTS], **DRAWN)
    batch = CompletionBatch(run.model, 257, max_rows)
    for completion in completions:
        batch.add(completion)
    while len(batch):
        batch.step()
        assert len(batch.running) <= max_rows
        assert len(batch.batch.sequences) == len(batch.running)
    assert [completion.text for completion in completions] == [run.generate(prompt, **DRAWN) for prompt in PROMPTS]


def test_a_text_that_is_given_up_leaves(make_run: Callable) -> None:
    run = make_run()
    batch = CompletionBatch(run.model, 257, max_rows=2)
    completions = start_completions(run, [[1], [2], [3]], **DRAWN)
    for completion in completions:
        batch.add(completion)
    batch.step()
    for completion in completions:
        batch.remove(completion)
        batch.remove(completion)  # a second time is no error
    assert (len(batch), batch.batch.sequences) == (0, [])


def test_a_text_ends_before_a_stop_string(make_run: Callable) -> None:
    run = make_run("gru")
    whole = run.generate("One", **DRAWN)
    stop = whole[7:9]
    (found,) = run.complete(["One"], stop=stop, **DRAWN)
    assert (found.text, found.finish_reason) == (whole[: whole.index(stop)], "stop")
    assert run.generate("One", stop=["\0never\0", stop], **DRAWN) == found.text
    assert run.complete(["One"], stop=["\0never\0"], **DRAWN)[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": 5}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": ""}, "would end every text"),
        ({"min_p": 0.1}, "min_p=0.1 has no effect at temperature=0"),
        ({"seed": 1}, "seed=1 has no effect at temperature=0"),
        ({"temperature": 1, "min_p": 2.0}, "min_p=2.0 does not fit"),
        ({"logit_bias": {999: 1.0}}, "token 999"),
        ({"repetition_penalty": 0}, "repetition_penalty=0 does not fit"),
        ({"max_tokens": 5}, "max_tokens is not an option of a text. Did you mean"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict, message: str, make_run: Callable) -> None:
    with pytest.raises(UserError, match=message):
        start_completions(make_run(), [[1]], **options)


def test_several_texts_need_a_temperature(make_run: Callable) -> None:
    with pytest.raises(UserError, match="n=2 texts are all the same"):
        make_run().complete(["One"], n=2)


def test_a_prompt_longer_than_the_context_is_refused(make_run: Callable) -> None:
    run = make_run()
    with pytest.raises(UserError, match="The prompt has 65 tokens, and this model reads at most 64"):
        run.generate("a" * 65)
    (found,) = run.complete(["a" * 64], max_new_tokens=200, logit_bias={256: -100.0})
    assert len(found.sequence.new_tokens) == 200  # far beyond the context
