"""Run folders: made exclusively, named cleanly, found again."""

import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.runs import folder, ranks, run_info


def started(path: Path, when: str | None) -> Path:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("seed: 1\n")
    write_json(path / "run.json", {"format": run_info.FORMAT, "started": when})
    return path


def test_runs_that_start_in_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: folder.make_unique(tmp_path / "day", "12-00-00-gpt-verdict"), range(24)))
    assert len(set(made)) == 24
    assert all(path.is_dir() for path in made)
    assert {path.name for path in made} == {
        "12-00-00-gpt-verdict",
        *(f"12-00-00-gpt-verdict-{n}" for n in range(2, 25)),
    }


def test_dated_folders(tmp_path: Path) -> None:
    path = folder.create_run_folder(tmp_path, "gpt-verdict")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-gpt-verdict", str(path.relative_to(tmp_path)))


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("001-lr_1e-3-seed_1", "001-lr_1e-3-seed_1"),
        ("gpt [a, b]=c/d", "gpt-a-b-c-d"),
        ("../../etc", "etc"),
        ("naïve 🙂 run", "na-ve-run"),
        ("x.", "x"),
    ],
)
def test_names_are_cleaned(tmp_path: Path, name: str, clean: str) -> None:
    path = folder.make_unique(tmp_path, name)
    assert (path.parent, path.name) == (tmp_path, clean)


@pytest.mark.parametrize("name", ["", "..", "日本"])
def test_a_name_without_a_clean_character_still_gets_a_folder_inside(tmp_path: Path, name: str) -> None:
    path = folder.make_unique(tmp_path, name)
    assert path.parent == tmp_path
    assert re.fullmatch(r"[A-Za-z0-9._-]+", path.name)


def test_long_names_are_cut_at_80_with_their_number(tmp_path: Path) -> None:
    made = [folder.make_unique(tmp_path, "a" * 200) for _ in range(12)]
    assert len(set(made)) == 12
    assert all(70 < len(path.name) <= 80 for path in made)


def test_last_is_the_run_started_last_jobs_of_sweeps_included(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no run below .* yet"):
        folder.find_run("last", tmp_path)
    first = started(tmp_path / "2025-01-01" / "23-59-59-gpt-verdict", "2025-01-01T23:59:59")
    started(tmp_path / "2025-01-02" / "00-00-09-gpt-verdict", None)  # never started
    assert folder.find_run("last", tmp_path) == first.resolve()
    job = started(tmp_path / "2025-01-01" / "12-00-00-sweep-multirun" / "001-seed_1", "2025-01-02T08:00:00")
    assert folder.find_run("last", tmp_path) == job.resolve()
    newest = started(tmp_path / "2025-01-02" / "08-00-01-rnn-sine", "2025-01-02T08:00:01")
    assert folder.find_run("last", tmp_path) == newest.resolve()


def test_a_run_can_be_named_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(tmp_path / "day" / "run", "2025")
    monkeypatch.chdir(tmp_path)
    assert folder.find_run("day/run", tmp_path) == folder.find_run(str(run), tmp_path / "elsewhere") == run.resolve()
    with pytest.raises(UserError, match="day is not a run folder"):
        folder.find_run("day", tmp_path)
    with pytest.raises(UserError, match="nowhere does not exist"):
        folder.find_run("nowhere", tmp_path)


def new_run(folder: Path, **keys: Any) -> Path:
    """A run folder with these keys in its run.json."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("{}")
    write_json(folder / "run.json", run_info.new_run_info(**keys))
    return folder


def test_a_run_is_found_by_its_name_and_of_several_the_last_one(tmp_path: Path) -> None:
    new_run(tmp_path / "day" / "a", name="wide", started="2026-01-01T00:00:00")
    later = new_run(tmp_path / "day" / "b", name="wide", started="2026-01-02T00:00:00")
    new_run(tmp_path / "day" / "c", started="2026-01-03T00:00:00")
    assert folder.find_run("wide", tmp_path) == later
    with pytest.raises(UserError, match="deep does not exist, nor a run of that name: give a folder below"):
        folder.find_run("deep", tmp_path)


@pytest.mark.parametrize(("mode", "best"), [("min", "b"), ("max", "c")])
def test_a_sweep_means_its_best_run(mode: str, best: str, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for name, value in {"a": 0.5, "b": 0.2, "c": 0.9, "d": None}.items():
        metrics = {"last": {}, "best": {} if value is None else {"val/loss": value}}
        new_run(sweep / name, metrics=metrics, objective={"metric": "val/loss", "mode": mode})
    new_run(sweep / "e", objective=None)  # could not be composed
    (sweep / "sweep.json").write_text("{}")
    assert folder.find_run(str(sweep), tmp_path) == sweep / best


def test_the_winner_has_the_best_mean_over_its_seeds(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for name, model, seed, value in (
        ("a", "rnn", 1, 0.1),
        ("b", "rnn", 2, 0.9),
        ("c", "gru", 1, 0.3),
        ("d", "gru", 2, 0.2),
    ):
        metrics = {"last": {}, "best": {"val/loss": value}}
        overrides = [f"model={model}", f"seed={seed}"]
        new_run(
            sweep / name,
            status="done",
            metrics=metrics,
            overrides=overrides,
            objective={"metric": "val/loss", "mode": "min"},
        )
    (sweep / "sweep.json").write_text("{}")
    assert folder.find_run(str(sweep), tmp_path) == sweep / "d"


def resumed(run: Path, *words: str) -> None:
    """A run was resumed with these overrides."""
    info = run_info.read_run_info(run)
    run_info.update_run_info(run, overrides=[*info["overrides"], *words], resumed=[*(info["resumed"] or []), [*words]])


@pytest.mark.parametrize(
    ("words", "expected"), [(["data.num_workers=2", "data.path=there"], "d"), (["optimizer.lr=1"], "a")]
)
def test_only_what_changes_results_makes_a_resumed_run_another_setting(
    words: list[str], expected: str, tmp_path: Path
) -> None:
    test_the_winner_has_the_best_mean_over_its_seeds(tmp_path)
    for name in "abcd":
        (tmp_path / "sweep" / name / "config.yaml").write_text(
            "data: {num_workers: 0, path: here}\noptimizer: {lr: 0}\n"
        )
    (tmp_path / "sweep" / "a" / "config.yaml").write_text("data: {num_workers: 2, path: there}\noptimizer: {lr: 1}\n")
    resumed(tmp_path / "sweep" / "a", *words)
    assert folder.find_best_job(tmp_path / "sweep") == tmp_path / "sweep" / expected


def test_a_sweep_that_has_measured_nothing_means_no_run(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match=r"No run of .* has measured its objective yet"):
        folder.find_run(str(tmp_path), tmp_path)


def test_a_run_folder_without_run_json_is_named(tmp_path: Path) -> None:
    new_run(tmp_path / "a")
    (tmp_path / "a" / "run.json").unlink()
    with pytest.raises(UserError, match=r"has no run\.json, which a run folder needs"):
        folder.find_run(str(tmp_path / "a"), tmp_path)


@pytest.mark.parametrize("text", ["[1]", "a: [", "\x00", ""])
def test_a_damaged_config_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml is damaged \(.*\): restore it, or remove its folder"):
        folder.read_config(tmp_path)


def test_removing_takes_the_day_only_if_nothing_else_ran(tmp_path: Path) -> None:
    one, two = (folder.make_unique(tmp_path / "day", "run") for _ in range(2))
    folder.remove_run(one)
    assert not one.exists()
    assert two.is_dir()
    folder.remove_run(two)
    assert not two.parent.exists()
    assert tmp_path.is_dir()


def test_nothing_another_rank_writes_brings_a_removed_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, rmtree = folder.make_unique(tmp_path / "day", "a"), shutil.rmtree

    def while_another_rank_writes(path: Path, **options: bool) -> None:
        ranks.report_error(run, 1, "UserError: the loss became nan")
        with pytest.raises(FileNotFoundError):
            run_info.update_run_info(run, any_rank=True, status="failed")
        rmtree(path, **options)
        ranks.report_error(run, 1, "UserError: the loss became nan")

    monkeypatch.setattr(shutil, "rmtree", while_another_rank_writes)
    folder.remove_run(run)
    assert not list(tmp_path.iterdir())


def test_config_and_record_come_back(tmp_path: Path) -> None:
    config = {"model": {"lr": 1e-05, "prompt": "déjà: vu", "none": None}, "a": [1, "1", "null", True]}
    folder.write_config(tmp_path, config)
    read = folder.read_config(tmp_path)
    assert read == config
    assert list(read) == ["model", "a"]
    write_json(tmp_path / "run.json", run_info.new_run_info(command="seqlab train"))
    assert run_info.update_run_info(tmp_path, status="running", seed=1)["seed"] == 1
    run_info.update_run_info(tmp_path, status="done")
    info = run_info.read_run_info(tmp_path)
    assert list(info) == list(run_info.KEYS)
    assert {key: value for key, value in info.items() if value not in (None, {"last": {}, "best": {}})} == {
        "format": run_info.FORMAT,
        "status": "done",
        "command": "seqlab train",
        "seed": 1,
    }
    assert {file.name for file in tmp_path.iterdir()} == {"config.yaml", "run.json"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("process", 5),
        ("process", {"host": "h", "boot": "b", "pid": "1", "started": 0}),
        ("metrics", {"last": {}}),
        ("status", 1),
        ("objective", []),
    ],
)
def test_nonsense_in_run_json_is_named(key: str, value: object, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", run_info.new_run_info() | {key: value})
    with pytest.raises(UserError, match=rf"run.json is damaged \({key} is .*: restore it"):
        run_info.read_run_info(tmp_path)


def test_a_run_of_another_format_is_refused_by_version_and_is_not_the_last(tmp_path: Path) -> None:
    old = started(tmp_path / "day" / "old", "2026-02")
    write_json(old / "run.json", {"started": "2026-02", "versions": {"seqlab": "0.0.9"}})
    with pytest.raises(
        UserError, match=r"old was written by seqlab 0.0.9 in run format 1, and this seqlab reads format 2"
    ):
        run_info.read_run_info(old)
    new = started(tmp_path / "day" / "new", "2026-01")
    assert folder.find_run("last", tmp_path) == new.resolve()


def test_a_run_that_vanishes_while_all_are_listed_is_passed_over(tmp_path: Path) -> None:
    kept, stop = started(tmp_path / "2026-01-01" / "kept", "2026-01-01"), threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            for number in range(20):
                started(tmp_path / "2026-01-01" / f"run-{number}", "2025-01-01")
            for number in range(20):
                shutil.rmtree(tmp_path / "2026-01-01" / f"run-{number}")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(150):
            assert folder.find_run("last", tmp_path) == kept
    finally:
        stop.set()
        thread.join()
