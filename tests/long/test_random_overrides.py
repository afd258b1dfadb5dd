"""Whatever is typed ends in success or in one sentence: random values of all keys, random flags, over all verbs."""

import random
from pathlib import Path

import pytest

from seqlab.cli.hydra_api import compose_config, dotted_keys, to_plain_dict
from seqlab.config.groups import group_options

pytestmark = pytest.mark.long
VALUES = (
    "null -1 0 1 2 3.5 0.001 1e30 1e-50 -0.0 nan inf true false x '' [] {} [1,2] [a] {a:1} {_target_:os.system} 1e-3 007 "
    "${seed} ${nope} ${oc.env:NOPE} ??? ünï 🙂 a/b ../.. /dev/null ~ last best cpu auto 99999999999999999999 1_000 00:00:01 "
    "seqlab.models.gpt.GPT torch.nn.Linear 'a b' \"q\" a=b choice(1,2) range(3) glob(*) 1,2 $HOME %s"
).split(" ")
SMALL = {
    "sine": "device=cpu trainer.max_epochs=1 data.length=120",
    "text": "data=text data.path=story.txt model=gpt_mini model.n_layer=1 model.n_embd=8 model.n_head=2 tokenizer=byte "
    "data.context_length=16 device=cpu trainer.max_steps=1 callbacks.samples.max_new_tokens=2",
}
VERBS = {
    "evaluate": "run split checkpoint init_from trainer.precision data data.batch_size paths.runs foo".split(),
    "generate": "run checkpoint prompt input prompts shots out n max_new_tokens min_new_tokens stop temperature top_k top_p "
    "min_p repetition_penalty logit_bias logprobs seed dtype init_from foo".split(),
    "score": "run checkpoint text file stride detail dtype init_from paths.runs foo".split(),
    "runs": "status model seed sort columns paths.runs foo limit".split(),
    "diff": "a b paths.runs foo".split(),
    "report": "run paths.runs foo".split(),
    "reproduce": "run paths.runs foo".split(),
    "export": "run checkpoint format out init_from paths.runs foo".split(),
    "forecast": "run checkpoint steps out paths.runs foo".split(),
}
# What takes long or away: other devices, many processes or threads, much work. Each has tests of its own.
SPARED = ("trainer.devices", "trainer.num_nodes", "trainer.strategy", "threads", "data.num_workers", "paths")
HUGE = ("1e30", "99999999999999999999", "1_000", "007", "inf")
SIZES = (
    "max_epochs",
    "max_steps",
    "steps",
    "max_new_tokens",
    "length",
    "n_layer",
    "num_layers",
    "n_embd",
    "hidden_size",
    "n_inner",
)


def draw_words(draw: random.Random, task: str, keys: list[str]) -> list[str]:
    """One to three overrides: a value of a key, an option of a group, a key added or taken away."""
    words = []
    for _ in range(draw.randint(1, 3)):
        key, value = draw.choice(keys), draw.choice(VALUES)
        kind = draw.random()
        if kind < 0.1:
            group = draw.choice(list(group_options()))
            words.append(f"{group}={draw.choice([*group_options()[group], value])}")
        elif kind < 0.2:
            words.append(f"+{key}{draw.choice(['', '.more', 's'])}={value}")
        elif kind < 0.25:
            words.append(f"~{key}")
        elif not (key.endswith(SIZES) and value in HUGE):
            words.append(f"{key}={value}")
    return [
        word
        for word in words
        if not word.lstrip("+~").startswith((*SPARED, "device=", "sweep", "model=gpt2_", "data="))
    ]


def find_fault(seqlab, words: list[str]) -> list[str]:
    """What is wrong with how a command ended: neither success nor one sentence."""
    try:
        answer = seqlab(*words)
    except BaseException as error:
        return [f"{' '.join(words)}: raised {type(error).__name__}: {error}"]
    said = answer.err if answer.err.strip() else answer.out  # a plan of a sweep prints what is refused
    is_well = answer.status in (0, 1) and "Traceback" not in answer.err and answer.err.count("seqlab: ") <= 1
    if answer.status:
        is_well = is_well and len(said.strip().splitlines()[-1]) > 20
    return [] if is_well else [f"{' '.join(words)}: {answer}"]


@pytest.mark.parametrize("task", SMALL)
@pytest.mark.parametrize("seed", range(10))
def test_random_overrides_of_train(seed: int, task: str, seqlab, story: Path) -> None:
    draw, small = random.Random(f"{task} {seed}"), SMALL[task].split()
    keys = [*dotted_keys(to_plain_dict(compose_config("train", small, []))), "name", "foo", "hydra.run.dir"]
    faults: list[str] = []
    for _ in range(40):
        words = ["train", *small, *draw_words(draw, task, keys)]
        if draw.random() < 0.3:
            words.append(draw.choice(["plan=true", "explain=true", "start=false", "resume=last", "-m", "--cfg=job"]))
        faults += find_fault(seqlab, words)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("verb", VERBS)
def test_random_overrides_of_the_other_verbs(verb: str, seqlab, story: Path) -> None:
    draw = random.Random(verb)
    assert seqlab("train", *SMALL["sine"].split(), "name=sine").status == 0
    assert seqlab("train", *SMALL["text"].split(), "name=text").status == 0
    needed = {"evaluate": ["run=last", "split=val"], "generate": ["run=last", "prompt=The", "max_new_tokens=2"]}
    needed |= {"diff": ["a=last", "b=last"], "reproduce": ["run=nope"], "forecast": ["run=sine"]}
    needed |= {"score": ["run=last", "text=The"], "export": ["run=last", "out=exported"]}
    faults: list[str] = []
    for _ in range(40):
        words = [verb, *needed.get(verb, [])]
        for _ in range(draw.randint(1, 2)):
            key, value = draw.choice(VERBS[verb]), draw.choice(VALUES)
            if not (key.endswith(SIZES) and value in HUGE):
                words.append(f"{draw.choice(['', '', '', '+', '~'])}{key}={value}")
        faults += find_fault(seqlab, words)
    assert not faults, "\n".join(faults)
