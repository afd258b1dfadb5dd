#!/usr/bin/env bash
# The screenshots of the README, by a headless Chromium: the HPARAMS tab over a sweep, and a run's forecast.
# bash experiments/screenshots/run.sh
set -euo pipefail
command -v chromium > /dev/null || { echo "install chromium first"; exit 1; }
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
here=$(realpath experiments/screenshots)
cd "$(mktemp -d)"
seqlab train -m model=rnn,lstm,gru sweep.seeds=3 device=cpu

shoot() {  # file, size, tab, folder
  tensorboard --logdir "$4" --port 6123 2>/dev/null &
  until curl --silent --fail http://127.0.0.1:6123/data/runs | grep --quiet '"'; do sleep 1; done
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=30000 \
    --window-size="$2" --screenshot="$here/$1" "http://127.0.0.1:6123/?#$3" 2>/dev/null
  kill %%
  wait
}
shoot hparams.png 2100,560 hparams runs
shoot images.png 1500,480 images "$(echo runs/*/*/003-*)"
