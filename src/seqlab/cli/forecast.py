"""The verb forecast."""

from seqlab.cli.compose import compose_one
from seqlab.config.signatures import check_value
from seqlab.files import expand_path, hash_to_name
from seqlab.launch.run import configure_logging
from seqlab.runs.folder import relative_to_cwd
from seqlab.serving.engine import load_run
from seqlab.serving.forecast import forecast_run
from seqlab.streams import print_wrapped
from seqlab.types import PositiveInt


def main(args: list[str]) -> int:
    """Roll a run forward from the end of its series."""
    configure_logging()
    config = compose_one("forecast", args)
    if not config:
        return 0
    steps, checkpoint = config["steps"], config["checkpoint"]
    check_value("steps", steps, PositiveInt)
    run = load_run(str(config["run"]), checkpoint=checkpoint, accelerator="cpu", runs=config["paths"]["runs"])
    path = config["data"]["path"]
    of_others = f"-{hash_to_name(str(expand_path(path).resolve()))}" if path else ""
    usual = run.folder / "forecasts" / f"{checkpoint}-{steps}{of_others}"
    table, picture = forecast_run(run, steps, expand_path(str(config["out"])) if config["out"] else usual, path)
    print_wrapped(f"run         {relative_to_cwd(run.folder)}")
    print_wrapped(f"written     {relative_to_cwd(table)}")
    print_wrapped(f"figure      {relative_to_cwd(picture)}")
    return 0
