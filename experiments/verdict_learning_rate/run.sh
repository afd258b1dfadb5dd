#!/usr/bin/env bash
# Learning rate against dropout: a GPT of 7 million parameters on The Verdict. Some ten minutes on two cores.
# bash experiments/verdict_learning_rate/run.sh
set -euo pipefail
here=experiments/verdict_learning_rate
runs=$(mktemp -d)
seqlab train -m data=verdict model=gpt_mini device=cpu threads=1 callbacks.checkpoint.keep=none callbacks.samples=null \
  optimizer.lr=3e-4,1e-3,3e-3,1e-2 model.dropout=0,0.2,0.4 sweep.seeds=3 paths.runs="$runs"
sweep=$(echo "$runs"/*/*-sweep-multirun)
grep '^|' "$sweep/results.md" | python experiments/fill.py $here/README.md
cp "$sweep/results.csv" "$sweep/figures/learning_curves.png" "$sweep/figures/optimizer.lr.png" $here/
