"""Jobs on this machine: as many at once as it has GPUs or threads for, forked from a server that has imported all."""

import os
from multiprocessing.connection import wait
from typing import Any

from seqlab import device
from seqlab.launch.run import several
from seqlab.runs import folder as runs
from seqlab.sweeps import source
from seqlab.sweeps.manifest import Job, Sweep
from seqlab.sweeps.process import JobProcess, fork_server

Config = dict[str, Any]


class Local:
    """Starts jobs, each with its share of the threads, or with a GPU."""

    def __init__(self, settings: dict[str, Any], configs: list[Config]) -> None:
        self.context = fork_server()
        self.slots = settings["jobs"] or slots(configs)
        minutes = settings["timeout_minutes"]
        self.timeout = minutes * 60 if minutes else None
        self.gpus: dict[int, JobProcess] = {}  # which job has which

    def start(self, sweep: Sweep, job: Job) -> JobProcess:
        """Fork it. Raises Mistake where its process would import other code than the jobs before it."""
        config = runs.read_config(sweep.path(job))
        if several(config):
            source.check(sweep.source)
        threads = config["threads"] or max(1, cores() // (self.slots * device.processes(config["trainer"])))
        gpu = self.free_gpu(config)
        handle = JobProcess(self.context, sweep.path(job), threads, gpu)
        if gpu is not None:
            self.gpus[gpu] = handle
        return handle

    def free_gpu(self, config: Config) -> int | None:
        """The GPU for a job that wants one, where there are several and others run."""
        if config["trainer"]["accelerator"] != "cuda" or config["trainer"]["devices"] != 1 or self.slots == 1:
            return None
        numbers = range(device.gpus())
        return next((n for n in numbers if n not in self.gpus or self.gpus[n].ended()), None)

    def wait(self, handles: list[JobProcess], seconds: float) -> None:
        """Until one of them ends, or for so long."""
        wait([handle.sentinel for handle in handles], seconds)


def slots(configs: list[Config]) -> int:
    """How many jobs at once: what the cores have threads for, or one a GPU."""
    if not configs:  # of a search that was killed before its first trial
        return 1
    wanted = [config["trainer"] for config in configs]
    if any(trainer["accelerator"] == "cuda" for trainer in wanted):
        return max(1, device.gpus() // max(device.processes(trainer) for trainer in wanted))
    if any(trainer["accelerator"] != "cpu" for trainer in wanted):
        return 1
    return max(
        1, min(cores() // ((config["threads"] or cores()) * device.processes(config["trainer"])) for config in configs)
    )


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
