"""What a seqlab fit costs against plain Lightning with TensorBoard and bar, on the sine: python -m benchmarks.sine

Both make 100 full-batch epochs with Adam on the same windows and log the loss of every step. seqlab logs learning rate
and gradient norm besides and writes run.json. Neither writes checkpoints. Seconds per fit.
"""

import argparse
import logging
import os
import tempfile
import time
import warnings

import torch
from benchmarks.alternate import alternate, machine
from benchmarks.seqlab_run import create, trainer_of
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from seqlab import build
from seqlab.cli.compose import compose
from seqlab.launch.run import configure_logging
from seqlab.models import rnn


class Plain(LightningModule):
    """As Lightning's own introduction writes it."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
        """The mean squared error, logged."""
        windows, targets = batch
        loss = F.mse_loss(self.model(windows), targets)
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.01, fused=True)


def main() -> None:
    """Alternate both, for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.chdir(tempfile.mkdtemp())
    configure_logging()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    print(f"100 epochs of one batch of 800 windows; {machine()}")
    for name, kind in {"rnn": rnn.RNNForecaster, "lstm": rnn.LSTMForecaster, "gru": rnn.GRUForecaster}.items():
        print(name)

        def plain(kind: type = kind) -> float:
            config = compose("train", ["device=cpu"]).jobs[0].config
            samples = build.build_data(config, None).splits["train"]
            loader = DataLoader(TensorDataset(*(values.float() for values in samples.read_all())), 800, shuffle=True)
            trainer = Trainer(
                max_epochs=100,
                accelerator="cpu",
                log_every_n_steps=1,
                enable_checkpointing=False,
                enable_model_summary=False,
                logger=TensorBoardLogger("plain"),
            )
            start = time.perf_counter()
            trainer.fit(Plain(kind(1, 1)), loader)
            return time.perf_counter() - start

        def seqlab(name: str = name) -> float:
            run, config = create(["device=cpu", f"model={name}", "callbacks.checkpoint=null"])
            data = build.build_data(config, None)
            task = build.build_task(config, build.build_model(config["model"], build.get_data_properties(data)))
            trainer = trainer_of(run, config)
            start = time.perf_counter()
            trainer.fit(task, datamodule=data)
            return time.perf_counter() - start

        alternate({"seqlab": seqlab, "plain Lightning": plain}, options.rounds, "s")


if __name__ == "__main__":
    main()
