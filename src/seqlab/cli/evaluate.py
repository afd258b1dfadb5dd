"""The verb evaluate."""

import re

from rich.console import Console
from rich.table import Table

from seqlab.cli.compose import compose_data, compose_one
from seqlab.cli.overrides import config_folders, quoted, runs_folder, take_allow, value_of
from seqlab.cli.resume import update
from seqlab.evaluation.splits import evaluate
from seqlab.launch.run import quiet
from seqlab.runs import folder as runs


def run(words: list[str]) -> int:
    """Other data are composed from train.yaml and only their node kept; `data.*` alone updates the run's own."""
    words = take_allow(words)
    about_data = [word for word in words if re.match(r"\+*(data[.=]|paths\.data=)", word)]
    config = compose_one("evaluate", [word for word in words if word not in about_data])
    if not config:
        return 0
    folder = runs.find(str(config["run"]), runs_folder(words))
    chosen = runs.read_record(folder)["choices"]
    data_name = value_of(about_data, "data")
    if data_name:
        data = compose_data(quoted(about_data), config_folders(words))
    else:
        updated = update(runs.read_config(folder), about_data, chosen)
        data_name, data = chosen["data"], updated["data"]
        if "folders" in data:
            data["folders"] = updated["paths"]["data"]
    quiet()
    metrics = evaluate(folder, data, data_name, config["split"], config["checkpoint"], config["trainer"])
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{data_name}, {config['split']} split, {config['checkpoint']} weights")
    table.add_column("value", justify="right")
    for name, value in sorted(metrics.items()):
        table.add_row(name, f"{value:.6g}")
    Console(highlight=False, soft_wrap=True).print(table)
    return 0
