"""Jobs on a cluster, by submitit: each is the door's command on a run folder. They live on where this process dies."""

import math
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from seqlab import device
from seqlab.errors import UserError
from seqlab.launch.run import launch_command
from seqlab.runs import folder as runs
from seqlab.runs.run_info import process_exists
from seqlab.sweeps import source
from seqlab.sweeps.manifest import Job, Sweep

STOP_FILE = "stop"  # a file in the run folder: the job shall save and end
LOG_FOLDER = "submitit"  # folder of submitit's own files, in the sweep's


class ClusterJob:
    """A job that was submitted."""

    def __init__(self, job: Any, run: Path) -> None:
        self.job, self.run = job, run

    def has_ended(self) -> bool:
        """Whether it has, as the cluster says."""
        return self.job.done()

    def signal(self, number: int) -> None:
        """Ask it to save by a file that its node sees, which works wherever it runs; or cancel it, also if it waits."""
        if number == signal.SIGKILL or self.job.state == "PENDING":
            self.job.cancel()
        else:
            (self.run / STOP_FILE).touch()

    def failure_reason(self) -> str:
        """How it ended: what the cluster calls it."""
        state = self.job.get_info(mode="force").get("State", self.job.state)
        return f"ended as {state} on the cluster; its output is {self.job.paths.stderr}"


class SlurmLauncher:
    """Submits jobs. Slurm limits their time; shortly before (submitit's signal), they save."""

    timeout: float | None = None

    def __init__(self, settings: dict[str, Any], at_most: int) -> None:
        self.settings = settings
        self.slots = settings["jobs"] or at_most

    def start(self, sweep: Sweep, job: Job) -> ClusterJob:
        """Submit it: on Slurm a task for each process of a data-parallel run."""
        import submitit

        source.check_unchanged(sweep.source)
        run = sweep.path(job)
        trainer = runs.read_config(run)["trainer"]
        cluster = self.settings["cluster"]
        tasks = device.num_local_processes(trainer) if cluster == "slurm" else 1  # elsewhere Lightning starts the ranks
        wanted = {
            "name": "seqlab",
            "timeout_min": math.ceil(self.settings["timeout_minutes"]),
            "nodes": trainer.get("num_nodes", 1),
            "tasks_per_node": tasks,
            "cpus_per_task": self.settings["cpus_per_task"],
            "gpus_per_node": device.num_local_processes(trainer) if trainer["accelerator"] == "cuda" else None,
            "mem_gb": self.settings["mem_gb"],
            "slurm_partition": self.settings["partition"],
            "slurm_setup": self.settings["setup"],
        }
        try:
            executor = submitit.AutoExecutor(folder=sweep.folder / LOG_FOLDER, cluster=cluster)
            executor.update_parameters(**{key: value for key, value in wanted.items() if value is not None})
            (run / STOP_FILE).unlink(missing_ok=True)
            submitted = executor.submit(run_job, run, self.settings["cpus_per_task"])
        except (RuntimeError, ValueError, OSError, submitit.core.utils.FailedJobError) as error:
            raise UserError(f"The cluster ({cluster}) took no job: {str(error).splitlines()[0]}") from error
        job.submitted = str(submitted.job_id)
        sweep.write()
        return ClusterJob(submitted, run)

    def wait(self, handles: list[Any], seconds: float) -> None:
        """A cluster is asked less often than a process."""
        time.sleep(seconds if self.settings["cluster"] == "local" else 50 * seconds)


def is_active(sweep: Sweep, job: Job) -> bool:
    """Whether a job that was submitted waits or runs."""
    import submitit

    if job.submitted is None:
        return False
    if sweep.settings["cluster"] == "local":
        return process_exists(int(job.submitted))
    return not submitit.SlurmJob(folder=sweep.folder / LOG_FOLDER, job_id=job.submitted).done(force_check=True)


def run_job(run: Path, threads: int) -> int:
    """On the node: run a folder; asked by a file, or by Slurm's signal before the time limit, let it save. Exit status."""
    os.environ["OMP_NUM_THREADS"] = str(threads)

    def ignoring() -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm sends it to every process; the door saves on SIGTERM

    door = subprocess.Popen(launch_command(run), preexec_fn=ignoring)  # no threads here
    signal.signal(signal.SIGUSR2, lambda *_: door.terminate())
    while door.poll() is None:
        if (run / STOP_FILE).exists():
            (run / STOP_FILE).unlink(missing_ok=True)
            door.terminate()
        time.sleep(0.2)
    return door.returncode
