"""Models: pure nn.Modules. They import torch, `seqlab.types` and each other; constructor keywords are the config."""
