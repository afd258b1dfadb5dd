"""Jobs on this machine: as many at once as it has GPUs or threads for, forked from a server that has imported all."""

import os
from multiprocessing.connection import wait
from typing import Any

from seqlab import device
from seqlab.launch.run import needs_subprocesses
from seqlab.runs import folder as runs
from seqlab.sweeps import source
from seqlab.sweeps.manifest import Job, Sweep
from seqlab.sweeps.process import JobProcess, start_fork_server

Config = dict[str, Any]


class LocalLauncher:
    """Starts jobs, each with its share of the threads, or with a GPU."""

    def __init__(self, settings: dict[str, Any], configs: list[Config]) -> None:
        self.context = start_fork_server()
        self.slots = settings["jobs"] or count_slots(configs)
        minutes = settings["timeout_minutes"]
        self.timeout = minutes * 60 if minutes else None
        self.gpus: dict[int, JobProcess] = {}  # which job has which

    def start(self, sweep: Sweep, job: Job) -> JobProcess:
        """Fork it. Raises Mistake where its process would import other code than the jobs before it."""
        config = runs.read_config(sweep.path(job))
        if needs_subprocesses(config):
            source.check_unchanged(sweep.source)
        threads = config["threads"] or max(
            1, available_cores() // (self.slots * device.num_local_processes(config["trainer"]))
        )
        gpu = self.assign_gpu(config)
        handle = JobProcess(self.context, sweep.path(job), threads, gpu)
        if gpu is not None:
            self.gpus[gpu] = handle
        return handle

    def assign_gpu(self, config: Config) -> int | None:
        """The GPU for a job that wants one, where there are several and others run."""
        if config["trainer"]["accelerator"] != "cuda" or config["trainer"]["devices"] != 1 or self.slots == 1:
            return None
        numbers = range(device.gpu_count())
        return next((n for n in numbers if n not in self.gpus or self.gpus[n].has_ended()), None)

    def wait(self, handles: list[JobProcess], seconds: float) -> None:
        """Until one of them ends, or for so long."""
        wait([handle.sentinel for handle in handles], seconds)


def count_slots(configs: list[Config]) -> int:
    """How many jobs at once: what the cores have threads for, or one a GPU."""
    if not configs:  # of a search that was killed before its first trial
        return 1
    wanted = [config["trainer"] for config in configs]
    if any(trainer["accelerator"] == "cuda" for trainer in wanted):
        return max(1, device.gpu_count() // max(device.num_local_processes(trainer) for trainer in wanted))
    if any(trainer["accelerator"] != "cpu" for trainer in wanted):
        return 1
    return max(
        1,
        min(
            available_cores()
            // ((config["threads"] or available_cores()) * device.num_local_processes(config["trainer"]))
            for config in configs
        ),
    )


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
