"""Real sweeps in real folders: what fails, what continues, what is refused."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import in_group
from seqlab.runs.process import lock_folder
from seqlab.sweeps import local, manifest
from seqlab.sweeps.process import OUTPUT_FILE, JobProcess, start_fork_server

TROUBLE = ["+callbacks.trouble={_target_:trouble.Trouble,_partial_:true,folder:trouble}", "allow=[trouble]"]
TINY = ["model=rnn,gru", "seed=1,2,3", "trainer.max_epochs=5", "device=cpu"]


@pytest.fixture
def trouble(tmp_path: Path) -> Path:
    """The folder that says which job shall do what."""
    shutil.copy(Path(__file__).with_name("trouble.py"), tmp_path)
    (tmp_path / "trouble").mkdir()
    return tmp_path / "trouble"


def only_sweep(folder: Path) -> Path:
    """The one sweep below a folder."""
    (file,) = folder.glob("runs/*/*/sweep.json")
    return file.parent


def records(sweep: Path) -> dict[int, dict]:
    """run.json by job."""
    return {int(file.parent.name[:3]): json.loads(file.read_text()) for file in sweep.glob("*/run.json")}


def statuses(sweep: Path) -> list[str]:
    """The runs' own."""
    return [record["status"] for _, record in sorted(records(sweep).items())]


def states(sweep: Path) -> list[str]:
    """The manifest's."""
    return [job.state for job in manifest.read_sweep(sweep).jobs]


def command(*words: str, **options) -> subprocess.Popen:
    """A command in a process group of its own."""
    words = (sys.executable, "-m", "seqlab", "train", *words)
    return in_group(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def test_failed_jobs_are_recorded_stop_nothing_and_run_again(seqlab, trouble: Path, tmp_path: Path) -> None:
    for number, kind in enumerate(("raise", "nan", "kill")):
        (trouble / f"{number:03d}").write_text(kind)
    answer = seqlab("train", "-m", *TINY, *TROUBLE)
    sweep = only_sweep(tmp_path)
    assert answer.status == 1
    assert statuses(sweep) == states(sweep) == ["failed"] * 3 + ["done"] * 3
    said = [records(sweep)[number]["error"] for number in range(3)]
    assert said[0] == "RuntimeError: the roof is on fire"
    assert "The loss became nan at step 3 with learning rate 0.01" in said[1]
    assert "was killed by SIGKILL" in said[2]
    assert "3 of 6 runs done" in answer.out
    assert all(error in answer.out for error in said)
    assert "the roof is on fire" in (sweep / "000-model_rnn-seed_1" / "output.log").read_text()
    first = {number: record["started"] for number, record in records(sweep).items()}

    shutil.rmtree(trouble)
    answer = seqlab("train", "sweep.resume=last", "allow=[trouble]")
    assert answer.status == 0, answer.out + answer.err
    assert states(sweep) == ["done"] * 6
    again = {number for number, record in records(sweep).items() if record["started"] != first[number]}
    assert again == {0, 1, 2}
    assert "3 jobs" in answer.out


@pytest.mark.parametrize(("failing", "expected"), [("000", ["pending"] * 3), ("001", ["done"] * 3)])
def test_a_machine_without_a_free_process(
    failing: str, expected: list[str], seqlab, tmp_path: Path, monkeypatch
) -> None:
    start, left = local.JobProcess, [failing]

    def fail_once(context: object, run: Path, *rest: object) -> JobProcess:
        if run.name[:3] in left:
            left.clear()
            raise EOFError("unexpected EOF")  # of the fork server, which has died of it
        return start(context, run, *rest)

    words = ["train", "-m", "seed=1,2,3", "trainer.max_epochs=1", "device=cpu", "hydra.launcher.jobs=2"]
    with monkeypatch.context() as patch:
        patch.setattr(local, "JobProcess", fail_once)
        answer = seqlab(*words)
    assert states(only_sweep(tmp_path)) == expected
    if failing == "000":
        assert answer.status == 1
        assert "No process could be started for 000-seed_1 (unexpected EOF): end other work" in answer.err
        assert seqlab("train", "sweep.resume=last").status == 0


def test_a_job_that_takes_too_long_saves_and_fails_and_goes_on_from_there(
    seqlab, trouble: Path, tmp_path: Path
) -> None:
    (trouble / "000").write_text("slow")
    words = ["seed=1,2", "trainer.max_epochs=50", "device=cpu", "hydra.launcher.timeout_minutes=0.15"]
    assert seqlab("train", "-m", *words, *TROUBLE).status == 1
    sweep = only_sweep(tmp_path)
    assert statuses(sweep) == ["failed", "done"]
    assert records(sweep)[0]["error"] == "took longer than hydra.launcher.timeout_minutes=0.15"
    made = records(sweep)[0]["steps"]
    assert 1 < made < 50
    (trouble / "000").unlink()
    again = ["sweep.resume=last", "hydra.launcher.timeout_minutes=10", "allow=[trouble]"]
    assert seqlab("train", *again).status == 0
    assert f"resumed     after step {made}" in (sweep / "000-seed_1" / "output.log").read_text()


def test_a_job_that_cannot_be_composed_costs_only_itself(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "-m", "model=rnn,gtu", "trainer.max_epochs=1", "device=cpu")
    assert answer.status == 1
    sweep = only_sweep(tmp_path)
    assert statuses(sweep) == ["done", "failed"]
    assert records(sweep)[1]["error"] == "There is no model=gtu. Did you mean gru or gpt?"
    assert "1 of 2 runs done" in answer.out
    answer = seqlab("train", "-m", "model=rnn,gru", "model.hidden_size=four,4", "trainer.max_epochs=1", "device=cpu")
    assert "2 of 4 runs done" in answer.out
    answer = seqlab("train", "-m", "sweep.blocks=[{model:rnn},{model:gru,model.hiden_size:4}]", "device=cpu")
    assert "1 of 2 runs done" in answer.out
    assert "There is no model.hiden_size to set. Did you mean model.hidden_size?" in answer.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=rtn,gtu"], "There is no model=rtn. Did you mean rnn?"),
        (["seed=1,2", "model.hiden_size=3"], "Did you mean model.hidden_size?"),
        (["sweep.blocks=[]"], "This sweep is empty"),
        (["sweep=zoo"], "There is no sweep=zoo"),
        (["seed=1,2", "hydra.launcher.job=2"], "There is no hydra.launcher.job"),
        (["seed=1,2", "hydra.launcher.jobs=two"], "hydra.launcher.jobs"),
        (
            ["seed=1,2", "hydra.launcher.jobs=0"],
            "hydra.launcher.jobs=0 does not fit: it must be a whole number of at least 1",
        ),
        (
            ["seed=1,2", "hydra.launcher.timeout_minutes=-1"],
            "hydra.launcher.timeout_minutes=-1.0 does not fit: it must be a number above 0",
        ),
        (
            ["seed=1,2", "objective.metric=val/los"],
            "objective.metric=val/los is not measured by this task. Did you mean val/loss",
        ),
        (["seed=1,2", "objective.mode=highest"], "objective.mode=highest is unknown: use min or max"),
        (["seed=1,2", "+sweep.seed=3"], "There is no sweep.seed. Did you mean seeds"),
        (["sweep.seeds=2,3"], "cannot be swept over itself"),
        (["start=true,false"], "cannot be swept over itself"),
        (["sweep.blocks=[rnn]"], "is not a list of blocks"),
        (["sweep.blocks=[{sweep.seeds:3}]"], "has no place in a block"),
        (["sweep.sampler=tpe", "model.hidden_size=range(4,4)"], "is an empty range"),
        (["sweep.sampler=tpe", "optimizer.lr=interval(1e-4,1e400)"], "has no end: give two numbers"),
        (["seed=1,2", "explain=true"], "explain=true explains one config"),
        (["optimizer.lr=interval(0.1,1)"], "has no end of values"),
        (["sweep.sampler=grid", "optimizer.lr=interval(0.1,1)"], "sweep.sampler=grid is unknown: use random or tpe"),
        (["sweep.sampler=tpe"], "nothing to draw"),
        (
            ["sweep.sampler=tpe", "sweep.trials=0", "optimizer.lr=interval(0.1,1)"],
            "sweep.trials=0 is not a number of trials",
        ),
        (["sweep.sampler=tpe", "optimizer.lr=interval(1,0.1)"], "optimizer.lr cannot be drawn"),
    ],
)
def test_a_sweep_that_cannot_be_leaves_nothing(words: list[str], said: str, seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "-m", *words, "device=cpu")
    assert answer.status == 1
    assert said in answer.err
    assert answer.err.count("\n") <= 2
    assert not (tmp_path / "runs").exists()


def test_what_is_no_sweep_is_not_resumed(seqlab, tmp_path: Path) -> None:
    assert "There is no sweep below runs yet" in seqlab("train", "sweep.resume=last").err
    assert "does not exist" in seqlab("train", "sweep.resume=nowhere").err
    assert seqlab("train", "trainer.max_epochs=1", "device=cpu").status == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert "is not a sweep" in seqlab("train", f"sweep.resume={run}").err
    assert "type -m" in seqlab("train", "sweep.seeds=3").err


def test_a_resumed_sweep_restates_nothing(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu", "start=false").status == 0
    answer = seqlab("train", "sweep.resume=last", "seed=3")
    assert answer.status == 1
    assert "seed=3 has no effect here" in answer.err
    assert states(only_sweep(tmp_path)) == ["pending"] * 2
    assert seqlab("train", "sweep.resume=last", "hydra.launcher.jobs=1").status == 0
    assert states(only_sweep(tmp_path)) == ["done"] * 2
    answer = seqlab("train", "sweep.resume=last")  # there is nothing to do
    assert answer.status == 0
    assert "2 of 2 runs done" in answer.out


def written_with(seqlab, folder: Path) -> Path:
    """Write a sweep of two jobs, of which one takes its model from a folder of configs; the yaml of that model."""
    model = folder / "model" / "small.yaml"
    model.parent.mkdir(parents=True)
    model.write_text("_target_: seqlab.models.rnn.GRUForecaster\nhidden_size: 4\nnum_layers: 1\ndropout: 0.0\n")
    words = ["model=small,rnn", "trainer.max_epochs=1", "device=cpu", "start=false", "--config-dir", folder.name]
    assert seqlab("train", "-m", *words).status == 0
    return model


def test_a_config_that_changed_is_refused_with_a_diff(seqlab, tmp_path: Path) -> None:
    model = written_with(seqlab, tmp_path / "mine")
    model.write_text(model.read_text().replace("4", "6"))
    answer = seqlab("train", "sweep.resume=last")
    assert answer.status == 1
    assert "000 model.hidden_size: 4 -> 6" in answer.err
    assert states(only_sweep(tmp_path)) == ["pending"] * 2
    assert seqlab("train", "sweep.resume=last", "sweep.use_saved_configs=true").status == 0
    totals = [record["parameters"]["total"] for _, record in sorted(records(only_sweep(tmp_path)).items())]
    assert totals[0] == 3 * (4 * 1 + 4 * 4 + 2 * 4) + 5  # a GRU of 4


def test_frozen_configs_run_without_the_yamls_they_came_from(seqlab, tmp_path: Path) -> None:
    written_with(seqlab, tmp_path / "mine = ours")
    shutil.rmtree(tmp_path / "mine = ours")
    assert "is not a folder" in seqlab("train", "sweep.resume=last").err
    assert seqlab("train", "sweep.resume=last", "sweep.use_saved_configs=true").status == 0
    assert states(only_sweep(tmp_path)) == ["done"] * 2


def test_data_that_changed_are_not_gone_on_with(seqlab, tiny: list[str], story: Path, tmp_path: Path) -> None:
    words = [word for word in tiny[1:] if not word.startswith("model.n_embd")]
    assert seqlab("train", "-m", *words, "model.n_embd=16,15").status == 1  # two heads cannot share 15
    text = story.read_text()
    story.write_text(text.upper())
    assert "has changed since this sweep was started" in seqlab("train", "sweep.resume=last").err
    story.unlink()
    assert "is missing" in seqlab("train", "sweep.resume=last").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.launcher.jobs=two"], "hydra.launcher.jobs=two does not fit"),
        (["hydra.launcher.timeout_minutes=soon"], "does not fit"),
        (["sweep.use_saved_configs=maybe"], "is neither true nor false"),
        (["paths.runs=a=b"], "There is no sweep below a=b"),
    ],
)
def test_words_of_a_resume_that_cannot_be(words: list[str], said: str, seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu", "start=false").status == 0
    answer = seqlab("train", "sweep.resume=last", *words)
    assert answer.status == 1
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_a_job_runs_no_code_of_the_working_folder(tmp_path: Path) -> None:
    for name in ("grp", "bz2", "torch", "threading"):
        (tmp_path / f"{name}.py").write_text("raise SystemError('imported from the working folder')\n")
    script = Path(sys.executable).with_name("seqlab")
    words = [script, "train", "-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 runs done" in done.stdout


def test_ctrl_c_while_a_job_is_being_started(tmp_path: Path) -> None:
    sweep = command("-m", "seed=1,2", "trainer.max_epochs=3000", "device=cpu", "hydra.launcher.jobs=1", cwd=tmp_path)
    wait_for(lambda: list(tmp_path.glob("runs/*/*/001*/run.json")) and "running" in states(only_sweep(tmp_path)))
    os.killpg(sweep.pid, signal.SIGINT)
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, out
    assert "done" not in statuses(only_sweep(tmp_path))


@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.01, 0.05])
def test_a_signal_while_a_job_is_forked_is_not_lost(seconds: float, seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "trainer.max_epochs=100000", "device=cpu", "start=false").status == 0
    (run,) = tmp_path.glob("runs/*/*")
    job = JobProcess(start_fork_server(), run, threads=None, gpu=None)
    time.sleep(seconds)
    job.signal(signal.SIGINT)
    wait_for(job.has_ended)
    assert job.process.exitcode == 130
    output = run / OUTPUT_FILE  # not there yet, if the signal was faster
    assert not output.exists() or "Traceback" not in output.read_text()


def test_jobs_load_batches_in_processes_of_their_own(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu", "data.num_workers=1")
    assert answer.status == 0, answer.out
    assert "Traceback" not in next(tmp_path.glob("runs/*/*/000*/output.log")).read_text()


def test_two_sweeps_on_one_folder(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu", "start=false").status == 0
    with lock_folder(only_sweep(tmp_path)):
        answer = seqlab("train", "sweep.resume=last")
    assert answer.status == 1
    assert "is being run by another process" in answer.err
    assert states(only_sweep(tmp_path)) == ["pending"] * 2


def test_a_job_that_prints_a_lot(seqlab, trouble: Path, tmp_path: Path) -> None:
    (trouble / "000").write_text("print")
    assert seqlab("train", "-m", "seed=1", "trainer.max_epochs=3", "device=cpu", *TROUBLE).status == 0
    (log,) = only_sweep(tmp_path).glob("*/output.log")
    assert 4_000_000 < log.stat().st_size < 4_400_000
    text = log.read_text()
    assert text.startswith("run  ")
    assert "bytes left out" in text
    assert "tensorboard --logdir" in text[-500:]


def test_source_that_is_edited_is_not_seen_by_later_jobs(trouble: Path, tmp_path: Path) -> None:
    (trouble / "000").write_text("edit")
    words = ["seed=1,2", "trainer.max_epochs=3", "device=cpu", "hydra.launcher.jobs=1", *TROUBLE]
    sweep = command("-m", *words, cwd=tmp_path)
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, out
    assert "raise" in (tmp_path / "trouble.py").read_text().splitlines()[0]
    assert states(only_sweep(tmp_path)) == ["done"] * 2


@pytest.mark.long
def test_jobs_of_several_processes_refuse_source_that_was_edited(trouble: Path, tmp_path: Path) -> None:
    (trouble / "000").write_text("edit")
    words = ["seed=1,2", "trainer.max_epochs=3", "device=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
    sweep = command("-m", *words, *TROUBLE, "hydra.launcher.jobs=1", cwd=tmp_path)
    out, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 1, out
    assert statuses(only_sweep(tmp_path)) == ["done", "failed"]
    assert "trouble.py was edited since the sweep started" in records(only_sweep(tmp_path))[1]["error"]


def wait_for(look, seconds: float = 300) -> None:
    """Until something is so."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun(folder: Path, jobs: int = 1) -> bool:
    """Whether so many jobs train."""
    return sum(file.stat().st_size > 0 for file in folder.glob("runs/*/*/0*/metrics.jsonl")) >= jobs


def test_ctrl_c_lets_the_running_jobs_save(tmp_path: Path, seqlab) -> None:
    words = ["-m", "seed=1,2,3,4", "trainer.max_epochs=3000", "device=cpu", "hydra.launcher.jobs=2"]
    sweep = command(*words, cwd=tmp_path)
    wait_for(lambda: begun(tmp_path, 2))
    os.killpg(sweep.pid, signal.SIGINT)
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, out
    assert "Traceback" not in out
    folder = only_sweep(tmp_path)
    assert sorted(statuses(folder)) == ["interrupted"] * 2 + ["pending"] * 2
    assert re.search(r"0 done, 2 interrupted, 2 not started; continue with seqlab train sweep\.resume=", out)
    assert len(list(folder.glob("*/checkpoints/last.ckpt"))) == 2


def test_jobs_save_also_where_nobody_reads_any_more(tmp_path: Path, seqlab) -> None:
    words = ["-m", "seed=1,2", "trainer.max_epochs=3000", "device=cpu", "hydra.launcher.jobs=2"]
    sweep = command(*words, cwd=tmp_path)
    wait_for(lambda: begun(tmp_path, 2))
    sweep.stdout.close()  # as tee does, which gets the Ctrl-C too
    os.killpg(sweep.pid, signal.SIGINT)
    assert sweep.wait(timeout=120) == 130
    folder = only_sweep(tmp_path)
    assert statuses(folder) == states(folder) == ["interrupted"] * 2
    assert len(list(folder.glob("*/checkpoints/last.ckpt"))) == 2


def test_a_folder_that_is_taken_away_costs_only_its_job(tmp_path: Path) -> None:
    words = ["-m", "seed=1,2", "trainer.max_epochs=3000,1", "device=cpu", "hydra.launcher.jobs=1"]
    sweep = command(*words, cwd=tmp_path)
    wait_for(lambda: begun(tmp_path))
    shutil.rmtree(only_sweep(tmp_path) / "000-seed_1-max_epochs_3000", ignore_errors=True)
    shutil.rmtree(only_sweep(tmp_path) / "002-seed_2-max_epochs_3000")
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, out
    assert "Traceback" not in out
    assert states(only_sweep(tmp_path)) == ["failed", "done", "failed", "done"]


def test_scripts_of_an_allowed_package_are_not_run(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent, tmp_path / "lab", ignore=shutil.ignore_patterns("test_*", "__pycache__"))
    (tmp_path / "lab" / "__main__.py").write_text("open('ran', 'w')\nraise SystemExit(3)\n")
    (tmp_path / "lab" / "broken.py").write_text("import nothing_of_this_name\n")
    callback = "+callbacks.trouble={_target_:lab.trouble.Trouble,_partial_:true,folder:trouble}"
    sweep = command("-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu", callback, "allow=[lab]", cwd=tmp_path)
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, out
    assert not (tmp_path / "ran").exists()


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).with_name("trouble.py"), tmp_path)
    (tmp_path / "trouble").mkdir()
    (tmp_path / "trouble" / "000").write_text("hang")
    sweep = command("-m", "seed=1,2", "device=cpu", "hydra.launcher.jobs=1", *TROUBLE, cwd=tmp_path)
    wait_for(lambda: (tmp_path / "trouble" / "hanging").exists())
    os.killpg(sweep.pid, signal.SIGINT)
    while "stopping" not in sweep.stdout.readline():
        assert sweep.poll() is None
    os.killpg(sweep.pid, signal.SIGINT)
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, out
    assert statuses(only_sweep(tmp_path)) == ["interrupted", "pending"]


def test_a_full_disk_loses_no_finished_result(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    words = [
        "-m",
        "model=rnn",
        "model.hidden_size=4,128",
        "trainer.max_epochs=2",
        "device=cpu",
        "callbacks.forecast=null",
    ]
    sweep = command(*words, cwd=tmp_path, preexec_fn=limited)
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, out
    assert "Traceback" not in out
    assert statuses(only_sweep(tmp_path)) == ["done", "failed"]
    assert "The disk is full" in records(only_sweep(tmp_path))[1]["error"]


def test_hydras_own_launcher_is_still_there(seqlab, tmp_path: Path) -> None:
    basic = ["hydra/launcher=basic", "hydra/sweeper=basic"]
    assert seqlab("train", "-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu", *basic).status == 0
    assert [json.loads(f.read_text())["status"] for f in tmp_path.glob("runs/*/*/run.json")] == ["done"] * 2
    assert not list(tmp_path.rglob("multirun.yaml"))


def test_blocks_of_a_file_of_ones_own(seqlab, story: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine" / "sweep" / "zoo.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "# two kinds of models: seqlab train -m sweep=zoo\n"
        "defaults: [none, _self_]\n"
        "blocks:\n"
        "  - {model: 'rnn,gru', trainer.max_epochs: 2}\n"
        f"  - {{model: gpt_mini, model.n_layer: 1, model.n_embd: 16, data: text, data.path: {story}, tokenizer: char,\n"
        "     data.context_length: 16, trainer.max_steps: 3}\n"
        "seeds: 2\n"
    )
    answer = seqlab("train", "-m", "sweep=zoo", "--config-dir", "mine", "device=cpu", "threads=1")
    assert answer.status == 0, answer.out + answer.err
    sweep = only_sweep(tmp_path)
    assert sweep.name.endswith("-sweep-zoo")
    assert [record["choices"]["model"] for _, record in sorted(records(sweep).items())] == ["rnn"] * 2 + ["gru"] * 2 + [
        "gpt_mini"
    ] * 2
    table = (sweep / "results.md").read_text()
    assert "best val/loss" in table
    assert "val/loss |" in table
