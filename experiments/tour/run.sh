#!/usr/bin/env bash
# The tour: forecast, pretrain, tune, look. Run from the repository root with seqlab on the PATH; needs no network.
set -euo pipefail

RUNS="${RUNS:-runs}"
HERE=experiments/tour
RECORDS="$RUNS/tour-records.json"

say() { printf '\n== %s\n' "$1"; }

say "1. A sweep: three recurrent networks learn to forecast a noisy sine."
seqlab train -m model=rnn,lstm,gru data=sine trainer.max_epochs=60 device=cpu paths.runs="$RUNS"

say "2. Pretraining: a small GPT learns to write, one character at a time, from one short story."
seqlab train model=gpt_mini model.n_layer=2 model.n_embd=64 model.dropout=0 data=text data.path=$HERE/story.txt tokenizer=char \
    data.context_length=128 data.stride=32 data.batch_size=8 data.val_fraction=0.05 optimizer.lr=5e-3 \
    schedule=linear schedule.warmup_steps=10 trainer.gradient_clip_val=1.0 trainer.max_epochs=28 trainer.check_val_every_n_epoch=4 \
    callbacks.samples.max_new_tokens=80 threads=1 device=cpu paths.runs="$RUNS"
BASE="$(ls -d "$RUNS"/*/*-gpt_mini-text* | tail -n 1)"

say "What it writes after \"The keeper\":"
seqlab generate run="$BASE" prompt="The keeper" max_new_tokens=200 device=cpu paths.runs="$RUNS"

ask() { # run, instruction, input
    printf '\n[%s] [%s]\n' "$2" "$3"
    seqlab generate run="$1" prompt="$2" input="$3" max_new_tokens=30 device=cpu paths.runs="$RUNS"
}
