"""Jobs on this machine: as many at once as it has GPUs or threads for, forked from a server that has imported all."""

from multiprocessing.connection import wait
from typing import Any

from seqlab import device
from seqlab.config.source import check_unchanged
from seqlab.launch.run import needs_subprocesses
from seqlab.runs.folder import read_config
from seqlab.sweeps.manifest import Job, Sweep
from seqlab.sweeps.process import JobProcess, start_fork_server
from seqlab.types import PositiveFloat, PositiveInt

Config = dict[str, Any]


class LocalLauncher:
    """Starts jobs, each with its share of the threads, or with a GPU."""

    def __init__(
        self, configs: list[Config], jobs: PositiveInt | None = None, timeout_minutes: PositiveFloat | None = None
    ) -> None:
        self.context = start_fork_server()
        self.slots = jobs or count_slots(configs)
        self.timeout = timeout_minutes * 60 if timeout_minutes else None
        self.gpus: dict[int, JobProcess] = {}  # the job on each

    def start_job(self, sweep: Sweep, job: Job) -> JobProcess:
        """Fork it. Raises UserError if its process would import other code than the jobs before it."""
        config = read_config(sweep.path(job))
        if needs_subprocesses(config):
            check_unchanged(sweep.source)
        processes = self.slots * device.num_local_processes(config["trainer"])
        threads = config["threads"] or max(1, device.available_cores() // processes)
        gpu = self.assign_gpu(config)
        handle = JobProcess(self.context, sweep.path(job), threads, gpu)
        if gpu is not None:
            self.gpus[gpu] = handle
        return handle

    def assign_gpu(self, config: Config) -> int | None:
        """A free GPU for a job that needs one, if there are several and jobs run side by side."""
        if config["trainer"]["accelerator"] != "cuda" or config["trainer"]["devices"] != 1 or self.slots == 1:
            return None
        numbers = range(device.gpu_count())
        return next((n for n in numbers if n not in self.gpus or self.gpus[n].has_ended()), None)

    def wait(self, handles: list[JobProcess], seconds: float) -> None:
        """Wait until one of them ends, at most `seconds`."""
        wait([handle.sentinel for handle in handles], seconds)


def count_slots(configs: list[Config]) -> int:
    """How many jobs at once: what the cores have threads for, or one per GPU."""
    if not configs:  # of a search that was killed before its first trial
        return 1
    trainers = [config["trainer"] for config in configs]
    if any(trainer["accelerator"] == "cuda" for trainer in trainers):
        return max(1, device.gpu_count() // max(device.num_local_processes(trainer) for trainer in trainers))
    if any(trainer["accelerator"] != "cpu" for trainer in trainers):
        return 1
    cores = device.available_cores()
    wanted = [
        (config["threads"] or min(device.enough_threads(config) or cores, cores))
        * device.num_local_processes(config["trainer"])
        for config in configs
    ]
    return max(1, cores // max(wanted))
