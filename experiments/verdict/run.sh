#!/usr/bin/env bash
# The workshop's GPT on The Verdict over three seeds: is the story learned by heart? About 20 minutes on two cores.
# bash experiments/verdict/run.sh [runs folder]
set -euo pipefail
runs="${1:-runs}"
text="${SEQLAB_DATA:-../shared/data}/the-verdict.txt"
seqlab train -m model=gpt data=verdict seed=1,2,3 device=cpu paths.runs="$runs"
sweep=$(ls -d "$runs"/*/*-sweep-multirun | tail -n 1)
for run in "$sweep"/[0-9]*/; do
  echo "== $run"
  seqlab evaluate run="$run" split=train checkpoint=last device=cpu
  seqlab generate run="$run" checkpoint=last prompt="Every effort moves you" max_new_tokens=200 device=cpu |
    sed 's/^Every effort moves you//' | python experiments/verdict/recited.py "$text"
done
