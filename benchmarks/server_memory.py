"""Does a server keep what it needs no more? python -m benchmarks.server_memory --folder runs/smollm2

Rounds of 200 requests at once to `seqlab serve`, a third of which hang up in the middle; after each round, when the server is
idle, the memory of its process that no other shares.
"""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import time

import httpx
import psutil
from benchmarks.alternate import machine

CLIENTS = 200


def main() -> None:
    """Print the memory after each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="a run, or a model in Hugging Face format")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "seqlab",
        "serve",
        f"run={options.folder}",
        "device=cpu",
        "port=0",
        "max_waiting=200",
    ]
    print(f"{options.folder}, {CLIENTS} requests a round; {machine()}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        url = next(found[1] for line in server.stdout if (found := re.match(r"page +(\S+)", line)))
        for number in range(options.rounds + 1):
            answered = asyncio.run(ask_all(url, number)) if number else 0
            wait_until_idle(url)
            memory = psutil.Process(server.pid).memory_full_info().uss
            print(
                f"  after round {number}: {memory / 1e6:7.1f} MB, {answered} answered, the others hung up", flush=True
            )
        server.terminate()


async def ask_all(url: str, number: int) -> int:
    """How many clients had an answer to the end; the others hung up."""
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=CLIENTS)) as client:
        return sum(
            await asyncio.gather(*(ask(client, random.Random(CLIENTS * number + one)) for one in range(CLIENTS)))
        )


async def ask(client: httpx.AsyncClient, draw: random.Random) -> bool:
    """True if a streamed text of up to 32 tokens was followed to its end."""
    patience = draw.randint(0, 10) if draw.random() < 1 / 3 else None  # lines
    body = {
        "prompt": "It was a day like others. " * draw.randint(1, 20),
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
    return False


def wait_until_idle(url: str) -> None:
    """Wait until no text is running or waiting."""
    while any(
        float(value)
        for value in re.findall(r"seqlab_(?:running|waiting)_texts\{.*?\} (\S+)", httpx.get(f"{url}/metrics").text)
    ):
        time.sleep(0.1)


if __name__ == "__main__":
    main()
