"""The verb serve."""

import os
from typing import Any

from seqlab.cli.compose import compose_one
from seqlab.cli.generate import load_language_run, refuse_trainer_keys
from seqlab.config.signatures import check_value
from seqlab.errors import UserError
from seqlab.serving.engine import LoadedRun
from seqlab.serving.language import check_tokenizer
from seqlab.serving.server.address import KEY, check_address, open_port
from seqlab.streams import print_wrapped
from seqlab.types import NonNegativeInt, PositiveFloat, PositiveInt

RANGES = {
    "port": NonNegativeInt,
    "max_rows": PositiveInt,
    "max_waiting": NonNegativeInt,
    "max_new_tokens": PositiveInt,
    "max_body_bytes": PositiveInt,
    "timeout": PositiveFloat,
}
SHUTDOWN_SECONDS = 30  # in which answers are finished


def main(args: list[str]) -> int:
    """Answer requests until a signal ends it."""
    refuse_trainer_keys(args)
    config = compose_one("serve", args)
    if not config:
        return 0
    for name, hint in RANGES.items():
        check_value(name, config[name], hint)
    try:
        import uvicorn

        from seqlab.serving.server.app import Limits, build_app
    except ModuleNotFoundError as error:
        raise UserError(f"serve needs {error.name}: pip install 'seqlab[serve]'.") from error
    key = os.environ.get(KEY, "").strip() or None
    check_address(str(config["host"]), key)
    place = open_port(str(config["host"]), config["port"])
    runs = load_runs(config)
    limits = Limits(
        *(config[name] for name in ("max_rows", "max_waiting", "max_new_tokens", "max_body_bytes", "timeout"))
    )
    app = build_app(runs, limits, key)
    for name in runs:
        print_wrapped(f"model       {name}")
    host, port = place.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print_wrapped(f"page        {address}")
    print_wrapped(f"api         {address}/v1, as OpenAI's; Ctrl-C ends it")
    settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    uvicorn.Server(settings).run(sockets=[place])
    return 0


def load_runs(config: dict[str, Any]) -> dict[str, LoadedRun]:
    """The runs by the names under which they are served. Raises UserError."""
    wanted = config["run"] if isinstance(config["run"], list) else [config["run"]]
    if not wanted:
        raise UserError("run=[] names no run: name one or several.")
    runs: dict[str, LoadedRun] = {}
    for one in wanted:
        run = load_language_run(config | {"run": one})
        check_tokenizer(run)
        name = run.config.get("name") or run.folder.name
        if name in runs:
            raise UserError(f"run={one} is served as {name} already: name it once.")
        runs[name] = run
    return runs
