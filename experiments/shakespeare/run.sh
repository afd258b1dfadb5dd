#!/usr/bin/env bash
# How well do a small Llama and an LSTM write Shakespeare after minutes on a laptop's processor? About 17 minutes on two cores.
# bash experiments/shakespeare/run.sh [runs folder]
set -euo pipefail
runs="${1:-runs}"
for seed in 1 2 3; do
    seqlab train experiment=shakespeare_char seed=$seed name=llama-$seed paths.runs="$runs"
done
for optimizer in muon adamw; do
    seqlab train experiment=shakespeare_char model=lstm_lm model.hidden_size=512 model.num_layers=1 optimizer=$optimizer \
        optimizer.lr=5e-3 seed=1 name=lstm-$optimizer paths.runs="$runs"
done
seqlab runs paths.runs="$runs" data=shakespeare sort=val/loss
