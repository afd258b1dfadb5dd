"""The verb evaluate."""

import re

from rich.console import Console
from rich.table import Table

from seqlab.cli.compose import compose_data, compose_one
from seqlab.cli.overrides import get_config_folders, get_override, get_runs_folder, pop_allow, quote_overrides
from seqlab.cli.resume import update_config
from seqlab.evaluation.splits import evaluate_run
from seqlab.launch.create import forget_download
from seqlab.launch.run import configure_logging
from seqlab.runs.folder import find_run, read_config, relative_to_cwd
from seqlab.runs.run_info import read_run_info
from seqlab.streams import print_wrapped
from seqlab.weights.sources import best_weights_path


def main(args: list[str]) -> int:
    """Measure a run. Other data are composed from train.yaml; `data.*` alone updates the run's own."""
    args = pop_allow(args)
    about_data = [arg for arg in args if re.match(r"\+*(data[.=]|paths\.data=)", arg)]
    config = compose_one("evaluate", [arg for arg in args if arg not in about_data])
    if not config:
        return 0
    run = find_run(str(config["run"]), get_runs_folder(args))
    choices = read_run_info(run)["choices"]
    data_name = get_override(about_data, "data")
    if data_name:
        data = compose_data(quote_overrides(about_data), get_config_folders(args))
        forget_download(data, about_data)
    else:
        updated = update_config(read_config(run), about_data, choices)
        data_name, data = choices["data"], updated["data"]
        if "folders" in data:
            data["folders"] = updated["paths"]["data"]
    configure_logging()
    split, checkpoint = config["split"], config["checkpoint"]
    may_shorten = get_override(about_data, "data.context_length") is None
    split, metrics = evaluate_run(
        run, data, data_name, split, checkpoint, config["trainer"], may_shorten, config["init_from"]
    )
    weights = checkpoint if checkpoint == "last" or best_weights_path(run) else "last (there are no best)"
    print_wrapped(f"run         {relative_to_cwd(run)}")
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{data_name}, {split} split, {weights} weights")
    table.add_column("value", justify="right")
    for name, value in sorted(metrics.items()):
        table.add_row(name, f"{value:.6g}")
    Console(highlight=False, soft_wrap=True).print(table)
    return 0
