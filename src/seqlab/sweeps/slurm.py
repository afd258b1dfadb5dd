"""Jobs on a cluster, by submitit: each runs the door's command on a run folder. They outlive the submitting process."""

import math
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from seqlab.config.source import check_unchanged
from seqlab.device import num_local_processes
from seqlab.errors import UserError
from seqlab.launch.run import launch_command
from seqlab.runs.folder import read_config
from seqlab.runs.process import process_exists
from seqlab.sweeps.manifest import Job, Sweep
from seqlab.types import PositiveFloat, PositiveInt

STOP_FILE = "stop"  # in the run folder: the job shall save and end
LOG_FOLDER = "submitit"  # of submitit's own files, in the sweep's folder


class ClusterJob:
    """A job that was submitted."""

    def __init__(self, job: Any, run: Path) -> None:
        self.job, self.run = job, run

    def has_ended(self) -> bool:
        """True if the cluster says so."""
        return self.job.done()

    def signal(self, number: int) -> None:
        """Ask it to save by a file that its node sees, which works wherever it runs; or cancel it, also if it waits."""
        if number == signal.SIGKILL or self.job.state == "PENDING":
            self.job.cancel()
        else:
            (self.run / STOP_FILE).touch()

    def failure_reason(self) -> str:
        """How it ended, in the cluster's words."""
        state = self.job.get_info(mode="force").get("State", self.job.state)
        return f"ended as {state} on the cluster; its output is {self.job.paths.stderr}"


class SlurmLauncher:
    """Submits jobs. Slurm limits their time; shortly before (submitit's signal), they save."""

    timeout: float | None = None

    def __init__(
        self,
        max_slots: int,
        cluster: str = "slurm",
        jobs: PositiveInt | None = None,
        timeout_minutes: PositiveFloat = 60,
        partition: str | None = None,
        cpus_per_task: PositiveInt = 2,
        mem_gb: PositiveFloat | None = None,
        setup: list[str] | None = None,
    ) -> None:
        self.cluster, self.cpus_per_task = cluster, cpus_per_task
        self.slots = jobs or max_slots
        self.parameters = {
            "name": "seqlab",
            "timeout_min": math.ceil(timeout_minutes),
            "cpus_per_task": cpus_per_task,
            "mem_gb": mem_gb,
            "slurm_partition": partition,
            "slurm_setup": setup,
        }

    def start_job(self, sweep: Sweep, job: Job) -> ClusterJob:
        """Submit it; on Slurm with a task for each process of a data-parallel run. Raises UserError."""
        import submitit

        check_unchanged(sweep.source)
        run = sweep.path(job)
        trainer = read_config(run)["trainer"]
        processes = num_local_processes(trainer)
        parameters = self.parameters | {
            "nodes": trainer.get("num_nodes", 1),
            "tasks_per_node": processes if self.cluster == "slurm" else 1,  # elsewhere Lightning starts the ranks
            "gpus_per_node": processes if trainer["accelerator"] == "cuda" else None,
        }
        try:
            executor = submitit.AutoExecutor(folder=sweep.folder / LOG_FOLDER, cluster=self.cluster)
            executor.update_parameters(**{key: value for key, value in parameters.items() if value is not None})
            (run / STOP_FILE).unlink(missing_ok=True)
            submitted = executor.submit(run_on_node, run, self.cpus_per_task)
        except (RuntimeError, ValueError, OSError, submitit.core.utils.FailedJobError) as error:
            raise UserError(f"The cluster ({self.cluster}) refused the job: {str(error).splitlines()[0]}") from error
        job.submitted = str(submitted.job_id)
        sweep.write()
        return ClusterJob(submitted, run)

    def wait(self, handles: list[Any], seconds: float) -> None:
        """Wait; a cluster is asked less often than a process."""
        time.sleep(seconds if self.cluster == "local" else 50 * seconds)


def is_active(sweep: Sweep, job: Job) -> bool:
    """True if a job that was submitted waits or runs."""
    import submitit

    if job.submitted is None:
        return False
    if sweep.settings["cluster"] == "local":
        return process_exists(int(job.submitted))
    return not submitit.SlurmJob(folder=sweep.folder / LOG_FOLDER, job_id=job.submitted).done(force_check=True)


def run_on_node(run: Path, threads: int) -> int:
    """On the node: run a folder; let it save if a file asks for it, or Slurm's signal before the time limit. Exit status."""
    os.environ["OMP_NUM_THREADS"] = str(threads)

    def ignore_slurm_signal() -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm sends it to every process; the run saves on SIGTERM

    process = subprocess.Popen(launch_command(run), preexec_fn=ignore_slurm_signal)  # this process has no threads
    signal.signal(signal.SIGUSR2, lambda *_: process.terminate())
    while process.poll() is None:
        if (run / STOP_FILE).exists():
            (run / STOP_FILE).unlink(missing_ok=True)
            process.terminate()
        time.sleep(0.2)
    return process.returncode
