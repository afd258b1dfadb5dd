"""Many clients at once, against the same server answering one after another: python -m benchmarks.serving --folder runs/smollm2

16 clients ask for 64 tokens each; figures are the tokens of all a second. Prompts differ, and the answers are compared. At the
temperature of the API's default, 1, texts vary; at 0 they repeat themselves, and a lone one is written faster by drafts.
Without `--folder`, a model of the size of GPT-2 small whose weights were drawn, over bytes.
"""

import argparse
import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import torch
import uvicorn
from benchmarks.alternate import alternate, machine

from seqlab.models.gpt import GPT
from seqlab.serving.engine import LoadedRun, load_run
from seqlab.serving.precision import place_model
from seqlab.serving.server.address import open_port
from seqlab.serving.server.app import Limits, build_app
from seqlab.tokenizers.byte import ByteTokenizer

CLIENTS, TOKENS = 16, 64


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="a model in Hugging Face format")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    run = (
        load_run(options.folder, accelerator="cpu", dtype=options.dtype, packed=True) if options.folder else draw_gpt()
    )
    url = start_server(run)
    print(f"{run.folder}, {options.dtype}; {machine()}")
    for temperature in (1, 0):
        print(f"temperature {temperature}")
        compare_clients(url, temperature, options.rounds)


def compare_clients(url: str, temperature: float, rounds: int) -> None:
    """All clients at once, and one after another."""
    texts: dict[int, list[str]] = {}

    def measure(at_once: int) -> float:
        start = time.perf_counter()
        texts[at_once] = asyncio.run(ask_all(url, at_once, temperature))
        return CLIENTS * TOKENS / (time.perf_counter() - start)

    contenders = {"16 clients at once": lambda: measure(CLIENTS), "one after another": lambda: measure(1)}
    alternate(contenders, rounds, "tokens/s")
    same = sum(a == b for a, b in zip(texts[CLIENTS], texts[1], strict=True))
    print(f"  {same} of {CLIENTS} texts are the same")


def draw_gpt() -> LoadedRun:
    """A GPT-2 small over bytes, with drawn weights."""

    def draw() -> torch.nn.Module:
        torch.manual_seed(0)
        model = GPT(vocab_size=50257, context_length=1024, init="gpt2")
        return place_model(model, torch.device("cpu"), "float32", packed=True)

    info: dict[str, Any] = {"metrics": {"last": {}, "best": {}}, "data_properties": {}}
    return LoadedRun(Path("gpt2"), {"model": {}, "tokenizer": {}}, draw, info, ByteTokenizer())


def start_server(run: LoadedRun) -> str:
    """A server on a free port, and its address."""
    place = open_port("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(build_app({"model": run}, Limits()), log_level="warning"))
    threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return f"http://127.0.0.1:{place.getsockname()[1]}"


async def ask_all(url: str, at_once: int, temperature: float) -> list[str]:
    """The texts of all clients, so many at once."""
    turn = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:

        async def ask(number: int) -> str:
            body = {"prompt": f"Chapter {number}. " + "It was a day like others. " * (number % 5 + 1)}
            body |= {"max_tokens": TOKENS, "min_tokens": TOKENS, "temperature": temperature, "seed": number}
            async with turn:
                answer = await client.post("/v1/completions", json=body)
            answer.raise_for_status()
            return answer.json()["choices"][0]["text"]

        return await asyncio.gather(*map(ask, range(CLIENTS)))


if __name__ == "__main__":
    main()
