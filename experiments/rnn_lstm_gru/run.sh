#!/usr/bin/env bash
# Which recurrent network forecasts the noisy sine best? Some two minutes on two cores.
# bash experiments/rnn_lstm_gru/run.sh
set -euo pipefail
here=experiments/rnn_lstm_gru
runs=$(mktemp -d)
seqlab train -m experiment=sine model=rnn,lstm,gru sweep.seeds=10 paths.runs="$runs"
sweep=$(echo "$runs"/*/*-sweep-sine)
python experiments/medians.py "$sweep" test/mse test/mse_least_squares test/mse_oracle test/mse_persistence |
  python experiments/fill.py $here/README.md
cp "$sweep/results.csv" "$sweep/figures/learning_curves.png" $here/
