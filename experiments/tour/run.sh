#!/usr/bin/env bash
# The tour: forecast, pretrain, tune, compare. Run it from the repository root with seqlab on the PATH; needs no network.
set -euo pipefail

RUNS="${RUNS:-runs}"
TOUR=experiments/tour

heading() { printf '\n== %s\n\n' "$1"; }

before() { # the base is no instruction run: the prompt is written out as data.prompt_style=phi would render it
    seqlab generate run=last device=cpu paths.runs="$RUNS" max_new_tokens=30 prompt="<|user|>
$1
$2
<|assistant|>:
"
}

after() { # instruction, input
    printf '%s [%s] ' "$1" "$2"
    seqlab generate run=last device=cpu paths.runs="$RUNS" max_new_tokens=30 prompt="$1" input="$2"
}

heading "1. A sweep: three recurrent networks learn to forecast a noisy sine"
seqlab train -m model=rnn,lstm,gru data=sine trainer.max_epochs=60 device=cpu paths.runs="$RUNS"

heading "2. Pretraining: a small GPT learns to write from one short story, a character at a time"
seqlab train model=gpt_mini model.n_layer=3 model.n_embd=64 model.dropout=0 \
    data=text data.path=$TOUR/story.txt data.val_fraction=0.05 tokenizer=char \
    data.context_length=128 data.stride=1 data.batch_size=8 \
    optimizer.lr=5e-3 schedule=linear schedule.warmup_steps=10 trainer.gradient_clip_val=1.0 \
    trainer.max_epochs=1 trainer.val_check_interval=0.2 device=cpu threads=1 paths.runs="$RUNS"

heading "3. What the base writes: it has begun to spell the words of the story"
seqlab generate run=last device=cpu paths.runs="$RUNS" max_new_tokens=110 prompt="The keeper"

heading "4. Before tuning: the base continues an instruction as if it were the story"
before "Name the first word." "clock night"

heading "5. Instruction tuning: LoRA on every linear layer of the frozen base"
python $TOUR/records.py "$RUNS/tour-records.json"
seqlab train data=instruction data.path="$RUNS/tour-records.json" data.prompt_style=phi init_from=last \
    adapter=lora adapter.rank=16 adapter.alpha=32 adapter.dropout=0 adapter.targets=[query,key,value,output,up,down] \
    optimizer.lr=5e-3 trainer.gradient_clip_val=1.0 \
    trainer.max_epochs=24 trainer.check_val_every_n_epoch=4 device=cpu threads=1 paths.runs="$RUNS"

heading "6. After tuning: the first test record of each kind, none of them seen in training"
after "Name the first word." "clock night"
after "Name the last word." "clock storm"
after "Repeat the words." "dog night"
after "Swap the words." "tea parrot"

heading "7. What every run reached"
python $TOUR/table.py "$RUNS"
printf '\nTo look at them: tensorboard --logdir %s\n' "$RUNS"
