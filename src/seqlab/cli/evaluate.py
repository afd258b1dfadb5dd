"""The verb evaluate."""

import re

from rich.console import Console
from rich.table import Table

from seqlab.cli.compose import compose_data, compose_one
from seqlab.cli.overrides import get_config_folders, get_override, get_runs_folder, pop_allow, quote_overrides
from seqlab.cli.resume import update_config
from seqlab.evaluation.splits import evaluate_run
from seqlab.launch.run import configure_logging
from seqlab.runs import folder as runs


def main(words: list[str]) -> int:
    """Other data are composed from train.yaml and only their node kept; `data.*` alone updates the run's own."""
    words = pop_allow(words)
    about_data = [word for word in words if re.match(r"\+*(data[.=]|paths\.data=)", word)]
    config = compose_one("evaluate", [word for word in words if word not in about_data])
    if not config:
        return 0
    folder = runs.find_run(str(config["run"]), get_runs_folder(words))
    chosen = runs.read_run_info(folder)["choices"]
    data_name = get_override(about_data, "data")
    if data_name:
        data = compose_data(quote_overrides(about_data), get_config_folders(words))
    else:
        updated = update_config(runs.read_config(folder), about_data, chosen)
        data_name, data = chosen["data"], updated["data"]
        if "folders" in data:
            data["folders"] = updated["paths"]["data"]
    configure_logging()
    metrics = evaluate_run(folder, data, data_name, config["split"], config["checkpoint"], config["trainer"])
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{data_name}, {config['split']} split, {config['checkpoint']} weights")
    table.add_column("value", justify="right")
    for name, value in sorted(metrics.items()):
        table.add_row(name, f"{value:.6g}")
    Console(highlight=False, soft_wrap=True).print(table)
    return 0
