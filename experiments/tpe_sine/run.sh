#!/usr/bin/env bash
# Does a sampler that learns find more in 20 trials than chance does? Each search of it is killed once and resumed. Five minutes.
# bash experiments/tpe_sine/run.sh
set -euo pipefail
here=experiments/tpe_sine
runs=$(mktemp -d)
for seed in 1 2 3 4 5; do
  for sampler in random tpe; do
    search=(seqlab train -m sweep=search sweep.sampler=$sampler seed=$seed data=sine data.val_fraction=0.2 device=cpu
      model=rnn,lstm,gru "model.hidden_size=range(4,65,4)" hydra.launcher.jobs=1 paths.runs="$runs/$sampler-$seed")
    if [ $sampler = tpe ]; then
      timeout --signal KILL $((8 + seed)) "${search[@]}" || seqlab train sweep.resume=last paths.runs="$runs/$sampler-$seed"
    else
      "${search[@]}"
    fi
  done
done
python $here/table.py "$runs" | python experiments/fill.py $here/README.md
