"""The error of each hour ahead and some forecasts of a day, of the best run of a sweep.

python experiments/series/figure.py <sweep folder> <figure.png>
"""

import sys
from types import SimpleNamespace

import torch

from seqlab.build import build_data
from seqlab.callbacks.forecast_plot import forecast_split, plot_horizon
from seqlab.serving.engine import load_run


def main(sweep: str, file: str) -> None:
    """Draw the test split."""
    run = load_run(sweep, accelerator="cpu")
    data = build_data(run.config, None, run.data_properties)
    task = SimpleNamespace(model=run.model, device=torch.device("cpu"))
    truth, forecast = forecast_split(data, task, "test")
    forecasts, _ = data.forecast_baselines("test")
    plot_horizon(truth, {"model": forecast} | forecasts, "load", "test", run.folder.name).savefig(file, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
