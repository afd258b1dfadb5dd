"""Tokenising a text from disk to disk, against tiktoken's own encode_ordinary_batch in memory: python -m benchmarks.tokenizing

Tiny Shakespeare many times over, GPT-2's encoding, all cores. seqlab's time is all of it: reading, checksums, counting,
encoding, writing the shards. tiktoken's is the encoding alone, of a list of texts that lies in memory.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks.alternate import alternate, machine

from seqlab.data.corpus import build_corpus
from seqlab.data.shards import open_tokens
from seqlab.files import find_file
from seqlab.tokenizers.gpt2 import GPT2Tokenizer

FOLDERS = ["data", "../shared/data"]


def main() -> None:
    """Print the table, in millions of bytes a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="copies of the text")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    text = find_file("tinyshakespeare.txt", FOLDERS).read_text(encoding="utf-8")
    tokenizer, size = GPT2Tokenizer(FOLDERS), options.times * len(text.encode())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "text.txt")
        file.write_text(text * options.times, encoding="utf-8")

        def seqlab() -> float:
            os.environ["SEQLAB_CACHE"] = tempfile.mkdtemp(dir=folder)
            start = time.perf_counter()
            open_tokens(build_corpus(**{"path": str(file)}), tokenizer)
            return size / (time.perf_counter() - start) / 1e6

        def tiktoken() -> float:
            start = time.perf_counter()
            tokenizer.encoding.encode_ordinary_batch([text] * options.times, num_threads=os.cpu_count() or 1)
            return size / (time.perf_counter() - start) / 1e6

        print(f"{size / 1e6:.1f} million bytes, {os.cpu_count()} cores; {machine()}")
        alternate({"seqlab, disk to disk": seqlab, "tiktoken, in memory": tiktoken}, options.rounds, "MB/s")


if __name__ == "__main__":
    main()
