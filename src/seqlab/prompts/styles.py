"""How an instruction becomes a prompt. A format is a function (instruction, input) -> prompt; the answer follows it."""

ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)


def alpaca(instruction: str, input: str = "") -> str:
    """One preamble for all records, as in "Building LLMs from the ground up"."""
    return sections(ALPACA, instruction, input)


def stanford_alpaca(instruction: str, input: str = "") -> str:
    """The preambles of Stanford Alpaca (Taori et al., 2023): another one for records with input."""
    return sections(ALPACA_WITH_INPUT if input else ALPACA, instruction, input)


def phi(instruction: str, input: str = "") -> str:
    """The turns of Phi-3 (Abdin et al., arXiv 2404.14219); without input its line is left out."""
    return f"<|user|>\n{instruction}\n{input and input + chr(10)}<|assistant|>:\n"


def sections(preamble: str, instruction: str, input: str) -> str:
    """Headed sections, the input only where there is one, ending with the newline after the last heading."""
    middle = f"\n\n### Input:\n{input}" if input else ""
    return f"{preamble}\n\n### Instruction:\n{instruction}{middle}\n\n### Response:\n"


STYLES = {"alpaca": alpaca, "stanford_alpaca": stanford_alpaca, "phi": phi}
