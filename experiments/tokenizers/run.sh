#!/usr/bin/env bash
# One text, five tokenizers: how many bits does a byte of Tiny Shakespeare cost after two epochs? About 7 minutes on two cores, 40 on busy ones.
# bash experiments/tokenizers/run.sh [runs folder]
set -euo pipefail
runs="${1:-runs}"
recipe="model=llama_mini data=shakespeare data.context_length=256 data.batch_size=16 optimizer=muon optimizer.lr=5e-3 schedule=wsd
    schedule.warmup_steps=0.03 schedule.decay_fraction=0.5 trainer.max_epochs=2 callbacks.samples=null seed=1 paths.runs=$runs"
seqlab train $recipe tokenizer=char name=char
seqlab train $recipe tokenizer=byte name=byte
seqlab train $recipe tokenizer=bpe tokenizer.size=512 name=bpe-512
seqlab train $recipe tokenizer=bpe tokenizer.size=4096 name=bpe-4096
seqlab train $recipe tokenizer=gpt2 name=gpt2
seqlab runs paths.runs="$runs" data=shakespeare sort=val/bits_per_byte
