#!/usr/bin/env bash
# Do networks forecast a day of load better than what needs no network? Five models, three seeds each; about 4 minutes on two cores.
# bash experiments/series/run.sh [runs folder]
set -euo pipefail
runs="${1:-runs}"
mkdir -p "$runs"
python experiments/series/make_series.py "$runs/station.csv"
seqlab train -m model=linear,rnn,lstm,gru,gpt_forecaster seed=1,2,3 data=series data.path="$runs/station.csv" \
    data.columns=[load,temperature] data.window=72 data.horizon=24 data.season=24 data.missing=mask \
    data.batch_size=64 trainer.max_epochs=10 device=cpu name=station paths.runs="$runs"
sweep=$(ls -d "$runs"/*/*-sweep-station | tail -1)
python experiments/medians.py "$sweep" test/mse test/mse_persistence test/mse_seasonal test/mse_least_squares
python experiments/series/figure.py "$sweep" experiments/series/horizon.png
