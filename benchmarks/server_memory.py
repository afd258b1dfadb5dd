"""Does a server keep what it needs no more? python -m benchmarks.server_memory --folder runs/smollm2

Rounds of 200 requests at once to `seqlab serve`, a third of which hang up in the middle; after each round, when the server is
idle, the memory of its process that no other shares. Without `--folder`, a small model that was trained for a step.
"""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil
from benchmarks.alternate import machine

from seqlab.serving.server.worker import IDLE_SECONDS

CLIENTS = 200


def main() -> None:
    """Print the memory after each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="a run, or a model in Hugging Face format")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or train_small(scratch)
        print(f"{folder}, {CLIENTS} requests a round; {machine()}")
        measure_rounds(folder, options.rounds)


def train_small(scratch: str) -> str:
    """The folder of a small run over the bytes of this file."""
    words = f"model=gpt_mini tokenizer=byte data=text data.path={__file__} data.context_length=64 trainer.max_steps=1"
    command = [sys.executable, "-m", "seqlab", "train", *words.split(), "device=cpu", "name=small"]
    subprocess.run([*command, f"paths.runs={scratch}"], check=True, stdout=subprocess.DEVNULL)
    return str(next(Path(scratch).glob("*/*-small")))


def measure_rounds(folder: str, rounds: int) -> None:
    """Print a line for each round."""
    command = [sys.executable, "-m", "seqlab", "serve", f"run={folder}", "device=cpu", "port=0", "max_waiting=200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            url = next(found[1] for line in server.stdout if (found := re.match(r"page +(\S+)", line)))
            for number in range(rounds + 1):
                answered = asyncio.run(ask_all(url, number)) if number else 0
                wait_until_idle(url)
                memory = psutil.Process(server.pid).memory_full_info().uss / 1e6
                print(f"  after round {number}: {memory:7.1f} MB, {answered} answered, the others hung up", flush=True)
        finally:
            server.terminate()


async def ask_all(url: str, number: int) -> int:
    """How many clients had an answer to the end; the others hung up."""
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=CLIENTS)) as client:
        return sum(
            await asyncio.gather(*(ask(client, random.Random(CLIENTS * number + one)) for one in range(CLIENTS)))
        )


async def ask(client: httpx.AsyncClient, draw: random.Random) -> bool:
    """True if a streamed text of up to 32 tokens was followed to its end."""
    patience = draw.randint(1, 10) if draw.random() < 1 / 3 else None  # lines
    body = {
        "prompt": "It was a day. " * draw.randint(1, 4),
        "max_tokens": draw.randint(1, 32),
        "stream": True,
    }
    async with client.stream("POST", "/v1/completions", json=body | {"seed": draw.randint(0, 9)}) as answer:
        assert answer.status_code == 200, await answer.aread()
        lines = 0
        async for line in answer.aiter_lines():
            lines += bool(line)
            if lines == patience:
                return False
            if line == "data: [DONE]":
                return True
    raise AssertionError(f"the stream ended after {lines} lines")


def wait_until_idle(url: str) -> None:
    """Wait until no text is running or waiting, and until the server has given back what it needs no more."""
    while any(
        float(value)
        for value in re.findall(r"seqlab_(?:running|waiting)_texts\{.*?\} (\S+)", httpx.get(f"{url}/metrics").text)
    ):
        time.sleep(0.1)
    time.sleep(2 * IDLE_SECONDS)


if __name__ == "__main__":
    main()
