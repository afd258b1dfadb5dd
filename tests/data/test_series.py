"""A series of one's own: columns, units, gaps, baselines, and a CSV file that is wrong in every way."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing import event_accumulator

from commands import write_series
from seqlab.data.series import SeriesDataModule
from seqlab.data.table import read_columns
from seqlab.errors import UserError


def series(path: Path, **changes: Any) -> SeriesDataModule:
    data = SeriesDataModule(str(path), **{"window": 6, "horizon": 2, **changes})
    data.setup()
    return data


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_series(tmp_path / "my.csv", rows=100)
    return tmp_path / "my.csv"


def columns_of(file: Path) -> np.ndarray:
    return np.genfromtxt(file, delimiter=",", skip_header=1, usecols=(1, 2))


def test_windows_are_cut_in_time_order_and_standardised_by_what_is_trained_on(file: Path) -> None:
    data, table = series(file, val_fraction=0.1, test_fraction=0.2), columns_of(file)
    assert (data.columns, data.channels, data.num_dropped) == (["temperature", "load"], 2, 0)  # not the time
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 67, "val": 6, "test": 18}
    trained_on = table[: 67 + 6 + 2 - 1]
    assert data.mean == pytest.approx(trained_on.mean(0).tolist())
    assert data.std == pytest.approx(trained_on.std(0).tolist())
    for split, first in {"train": 0, "val": 68, "test": 75}.items():  # no value is a target of two
        windows, targets = data.splits[split].read_all()
        assert data.to_units(windows[0]).numpy() == pytest.approx(table[first : first + 6], rel=1e-5)
        assert data.to_units(targets[0]).numpy() == pytest.approx(table[first + 6 : first + 8], rel=1e-5)


def test_columns_are_chosen_and_strided(file: Path) -> None:
    data = series(file, columns=["load"], stride=5, val_fraction=0.0, test_fraction=0.0)
    assert (data.channels, len(data.splits["train"])) == (1, 19)
    windows, _ = data.splits["train"].read_all()
    assert data.to_units(windows[1, :, 0]).numpy() == pytest.approx(columns_of(file)[5:11, 1], rel=1e-5)


def test_a_gap_is_refused_or_masked(tmp_path: Path) -> None:
    write_series(tmp_path / "my.csv", rows=100, gap=range(40, 50))
    with pytest.raises(UserError, match=r"10 empty cells, the first in line 42 under temperature.*data.missing=mask"):
        series(tmp_path / "my.csv")
    data = series(tmp_path / "my.csv", columns=["temperature"], missing="mask")
    assert data.num_dropped == 9  # windows of which both next values are missing
    windows, targets = data.splits["train"].read_all()
    assert not windows.isnan().any()
    assert int(targets.isnan().sum()) == 2  # before the first and after the last of them
    assert all(np.isfinite(value) for value in data.baselines("train").values())


def test_baselines_are_in_the_units_of_the_file(file: Path) -> None:
    data, table = series(file, columns=["temperature"], season=3, horizon=4), columns_of(file)[:, 0]
    errors = data.baselines("test")
    starts = data.splits["test"].starts.tolist()
    truth = np.array([table[start + 6 : start + 10] for start in starts])
    persistence = np.array([[table[start + 5]] * 4 for start in starts])
    seasonal = np.array([table[[start + 3, start + 4, start + 5, start + 3]] for start in starts])
    assert errors["mse_persistence"] == pytest.approx(((persistence - truth) ** 2).mean(), rel=1e-4)
    assert errors["mse_seasonal"] == pytest.approx(((seasonal - truth) ** 2).mean(), rel=1e-4)
    assert errors["mse_least_squares"] < errors["mse_persistence"]
    assert set(errors) == {f"mse_{name}" for name in ("persistence", "window_mean", "least_squares", "seasonal")}


def test_a_constant_column_is_not_divided_by_zero(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("a,b\n" + "".join(f"{i},5\n" for i in range(50)))
    data = series(tmp_path / "my.csv")
    assert data.std[1] == 1.0
    assert torch.isfinite(data.splits["train"].series).all()


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("a,b\n1,2\n3,x\n", {}, r"Line 3 of .*my.csv has 'x' under b, not a number"),
        ("a,b\n1,2\n3\n", {}, r"Line 3 of .*my.csv ends before the column b"),
        ("a,b\n1,2\n3,inf\n", {}, r"Line 3 of .*my.csv has inf under b"),
        ("1,2\n3,4\n", {}, "begins with numbers: write the names"),
        ("2024-01-01,10.8,3\n2024-01-02,10.9,4\n", {}, "begins with numbers: write the names"),
        ("a;b\n1;2\n", {}, "has no column of numbers"),
        ("time,word\nx,y\n", {}, "has no column of numbers"),
        ("a,b\n", {}, "has 1 lines: it needs"),
        ("", {}, "has 0 lines"),
        ("temperature,load\n1,2\n", {"columns": ["lod"]}, "has no column lod. Did you mean load"),
        ("a,b\n" + "1,2\n" * 7, {}, "has 7 rows, too few for a training window of data.window=6 and data.horizon=2"),
        ("a,b\n" + "1,\n" * 70, {"missing": "mask", "columns": ["b"]}, "The column b is empty where it is trained on"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_sentence(
    text: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "my.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        series(tmp_path / "my.csv", **changes)


def test_bytes_that_are_no_text_and_a_season_longer_than_the_window(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(UserError, match="cannot be read as CSV"):
        series(tmp_path / "my.csv")
    with pytest.raises(ValueError, match="season=7 is longer than window=6"):
        series(tmp_path / "my.csv", season=7)


def test_training_evaluating_and_forecasting_are_in_the_units_of_the_file(seqlab, file: Path, tmp_path: Path) -> None:
    words = ["data=series", "data.path=my.csv", "data.window=12", "data.horizon=3", "model=linear", "device=cpu"]
    answer = seqlab("train", *words, "trainer.max_epochs=3")
    assert answer.status == 0, answer.err
    import seqlab as package

    run = package.load("last", accelerator="cpu")
    data = series(file, window=12, horizon=3)
    windows, targets = data.splits["test"].read_all()
    errors = run.forecast(data.to_units(windows)) - data.to_units(targets)
    tested = run.best_metrics
    assert tested["test/mse"] == pytest.approx(errors.square().mean().item(), rel=1e-4)
    assert tested["test/mae"] == pytest.approx(errors.abs().mean().item(), rel=1e-4)
    assert tested["test/mse"] != pytest.approx(tested["test/loss"], rel=0.1)
    other = columns_of(file)[30:]
    lines = "".join(f"{temperature},{load}\n" for temperature, load in other)
    (tmp_path / "other.csv").write_text(f"temperature,load\n{lines}")
    answer = seqlab("evaluate", "run=last", "data.path=other.csv", "split=test")  # standardised as in training
    assert answer.status == 0, answer.err
    (evaluation,) = run.folder.glob("evaluations/*.json")
    other_data = series(tmp_path / "other.csv", window=12, horizon=3)
    windows, targets = other_data.splits["test"].read_all()
    errors = run.forecast(other_data.to_units(windows)) - other_data.to_units(targets)
    measured = json.loads(evaluation.read_text())["metrics"]["test/mse"]
    assert measured == pytest.approx(errors.square().mean().item(), rel=1e-4)


def test_forecast_rolls_forward_from_the_end_of_the_series(seqlab, file: Path, tmp_path: Path) -> None:
    words = ["data=series", "data.path=my.csv", "data.window=12", "data.horizon=3", "model=gru", "device=cpu"]
    assert seqlab("train", *words, "trainer.max_epochs=1").status == 0
    answer = seqlab("forecast", "run=last", "steps=8")
    assert answer.status == 0, answer.err
    import seqlab as package

    run = package.load("last", accelerator="cpu")
    folder = run.folder / "forecasts"
    assert {path.name for path in folder.iterdir()} == {"best-8.csv", "best-8.png"}
    rows = (folder / "best-8.csv").read_text().splitlines()
    assert rows[0] == "step,temperature,load"
    table = torch.tensor(columns_of(file))
    first = run.forecast(table)
    second = run.forecast(torch.cat([table, first]))
    written = torch.tensor([[float(value) for value in row.split(",")[1:]] for row in rows[1:]], dtype=torch.float64)
    assert written.shape == (8, 2)
    torch.testing.assert_close(written[:6], torch.cat([first, second]), rtol=1e-4, atol=1e-3)
    assert seqlab("train", "device=cpu", "trainer.max_epochs=1").status == 0
    assert seqlab("forecast", "run=last", "steps=5", "out=sine").status == 0
    assert (tmp_path / "sine.csv").read_text().splitlines()[0] == "step,value"
    answer = seqlab("forecast", "run=last", "steps=5", "out=/proc/x")
    assert (answer.status, "/proc/x.csv cannot be written" in answer.err) == (1, True), answer.err
    for words, message in ((["steps=0"], "steps=0 does not fit"), (["steps=x"], "steps=x does not fit")):
        answer = seqlab("forecast", "run=last", *words)
        assert (answer.status, message in answer.err) == (1, True), answer.err


def test_a_forecast_does_not_overwrite_its_series_or_that_of_another(seqlab, file: Path, tmp_path: Path) -> None:
    words = ["data=series", "data.path=my.csv", "data.window=12", "model=linear", "device=cpu", "trainer.max_epochs=1"]
    assert "columns     temperature, load" in seqlab("train", *words).out
    before = file.read_text()
    for out in ("my", "my.csv"):
        answer = seqlab("forecast", "run=last", "steps=2", f"out={out}")
        assert (answer.status, "my.csv is the series itself: name another place" in answer.err) == (1, True), answer.err
    assert file.read_text() == before
    (tmp_path / "longer one.csv").write_text(before + before.split("\n", 1)[1])
    assert seqlab("forecast", "run=last", "steps=2").status == 0
    answer = seqlab("forecast", "run=last", "steps=2", "data.path='longer one.csv'")
    assert (answer.status, answer.err) == (0, "")
    folder = next(tmp_path.glob("runs/*/*/forecasts"))
    own, other = sorted((path.name for path in folder.glob("*.csv")), key=len)
    assert own == "best-2.csv"
    assert re.fullmatch(r"best-2-[0-9a-f]{6}\.csv", other)


def test_a_split_without_a_window_is_refused(file: Path) -> None:
    for changes in ({"stride": 60}, {"test_fraction": 0.001}, {"horizon": 9, "val_fraction": 0.1}):
        with pytest.raises(
            UserError, match=r"The (val|test) split of my.csv has no window .*: use a longer series, or data"
        ):
            series(file, **changes)
    assert len(series(file, stride=60, val_fraction=0.0, test_fraction=0.0).splits["train"]) == 2


def test_one_cell_does_not_hide_a_column(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("a,b,c\n" + "oops,n/a,x\n" + "1,2,y\n" * 5)
    with pytest.raises(UserError, match=r"Line 2 of .* has 'oops' under a, not a number: fix it, or name the other"):
        read_columns(path, None)
    assert read_columns(path, ["b"])[0] == ["b"]
    path.write_text("a,note,b\n1,holiday,1\n" + "1,,2\n" * 5)
    assert read_columns(path, None)[0] == ["a", "b"]
    path.write_text("a,b,c\n" + "1,2\n" * 5)
    assert read_columns(path, None)[0] == ["a", "b"]


def test_a_model_gets_the_columns_that_it_was_trained_on(seqlab, file: Path, tmp_path: Path) -> None:
    words = ["data=series", "data.path=my.csv", "data.window=12", "model=linear", "device=cpu", "trainer.max_epochs=1"]
    assert seqlab("train", *words).status == 0
    assert seqlab("evaluate", "run=last", "split=test").status == 0
    (evaluation,) = tmp_path.glob("runs/*/*/evaluations/*.json")
    before, rows = json.loads(evaluation.read_text()), [line.split(",") for line in file.read_text().splitlines()]
    (tmp_path / "swapped.csv").write_text("".join(f"{time},{load},{temperature}\n" for time, temperature, load in rows))
    assert seqlab("evaluate", "run=last", "split=test", "data.path=swapped.csv").status == 0
    (other,) = set(evaluation.parent.iterdir()) - {evaluation}  # what was measured on the run's own data is kept
    swapped = json.loads(other.read_text())
    assert swapped["metrics"] == before["metrics"]
    assert (list(before["files"]), list(swapped["files"])) == ([str(file)], [str(tmp_path / "swapped.csv")])
    (tmp_path / "one.csv").write_text("".join(f"{time},{load}\n" for time, _, load in rows))
    answer = seqlab("evaluate", "run=last", "split=test", "data.path=one.csv")
    assert answer.status == 1
    assert "one.csv has no column temperature" in answer.err
    file.write_text((tmp_path / "swapped.csv").read_text())
    answer = seqlab("forecast", "run=last", "steps=3")
    assert answer.status == 0
    assert "is not what this run was trained on" in answer.err


def test_a_blank_line_is_an_empty_cell_and_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("x\n1\n\n3\n\n\n")
    _, table = read_columns(path, None)
    np.testing.assert_array_equal(table, [[1], [np.nan], [3]])
    with pytest.raises(UserError, match=r"1 empty cells, the first in line 3 under x"):
        read_columns(path, None, may_miss=False)
    path.write_text('x,y\n1,2\n"3\n",oops\n')
    with pytest.raises(UserError, match=r"Line 4 of .* has 'oops' under y"):
        read_columns(path, None)
    path.write_text("x,y\n1,2\n\n3,4\n")
    with pytest.raises(UserError, match=r"Line 3 of .* ends before the column x"):
        read_columns(path, None)
    path.write_text("x,x\n1,2\n")
    with pytest.raises(UserError, match="has the column x twice"):
        read_columns(path, None)
    path.write_text(",x\n0,5\n1,6\n")  # as pandas writes an index
    assert read_columns(path, None)[0] == ["x"]


def test_large_numbers_lose_nothing(tmp_path: Path) -> None:
    rows = "".join(f"{1_700_000_000 + 10 * np.sin(i / 3):.6f}\n" for i in range(80))
    (tmp_path / "my.csv").write_text(f"x\n{rows}")
    data = series(tmp_path / "my.csv")
    standardised = data.splits["train"].series
    back = (data.to_units(standardised) - data.mean[0]) / data.std[0]
    torch.testing.assert_close(back.float(), standardised, rtol=0, atol=1e-5)


def test_a_line_that_cannot_be_fitted_is_left_out(tmp_path: Path) -> None:
    rows = "".join(f"{'' if i % 3 == 0 else i % 7}\n" if i else "1\n" for i in range(120))
    (tmp_path / "my.csv").write_text(f"x\n{rows}")
    assert "mse_least_squares" not in series(tmp_path / "my.csv", horizon=6, missing="mask").baselines("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": [1.0]}, "belong together"),
        ({"mean": [1.0, 2.0], "std": [1.0]}, "belong together"),
        ({"delimiter": ""}, "is not one character"),
        ({"delimiter": ";;"}, "is not one character"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SeriesDataModule("my.csv", window=6, **options)


def test_a_tab_may_be_typed(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("a\tb\n" + "1\t2\n2\t4\n" * 30)
    assert series(tmp_path / "my.csv", delimiter="\\t").columns == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "temperature;load\n20,5334;100,7580\n20,1;99,5\n",
            r"Line 2 of .* has 3 cells, .* names 1 columns: .*data.delimiter",
        ),
        ("a,b\n1,2\n7,2,3\n", r"Line 3 of .* has 3 cells"),
    ],
)
def test_a_line_longer_than_the_first_one_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_columns(tmp_path / "my.csv", None)
    (tmp_path / "my.csv").write_text("a,b\n1,2,\n3,4,\n")  # a comma too many
    assert read_columns(tmp_path / "my.csv", None)[1].tolist() == [[1, 2], [3, 4]]


def test_numbers_too_large_to_train_on_are_named(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i}e300\n" for i in range(60))
    (tmp_path / "my.csv").write_text(f"a,b\n{rows}")
    with pytest.raises(UserError, match="The column b has numbers too large"):
        series(tmp_path / "my.csv")
    with pytest.raises(ValueError, match=r"columns=\[\] names none"):
        series(tmp_path / "my.csv", columns=[])


def test_a_run_is_evaluated_on_data_of_its_shape_alone(seqlab, file: Path) -> None:
    words = ["data=series", "data.path=my.csv", "data.window=12", "device=cpu", "trainer.max_epochs=1"]
    assert seqlab("train", *words, "model=linear").status == 0
    for change, message in (
        (["data.window=9"], "The model has window=12, the data have 9"),
        (["data.horizon=3"], "The model has horizon=1, the data have 3"),
        (["data=sine"], "The model has "),
    ):
        answer = seqlab("evaluate", "run=last", *change)
        assert (answer.status, len(answer.err.strip().splitlines())) == (1, 1), answer.err
        assert message in answer.err
    for out in ("my.csv/x", "/proc/x/y"):
        answer = seqlab("forecast", "run=last", "steps=2", f"out={out}")
        assert answer.status == 1
        assert "cannot be written" in answer.err


def test_a_parquet_file_is_read_as_the_csv_file(file: Path, tmp_path: Path) -> None:
    import pyarrow.csv
    from pyarrow import parquet

    parquet.write_table(pyarrow.csv.read_csv(file), tmp_path / "my.parquet")
    of_csv, of_parquet = series(file), series(tmp_path / "my.parquet")
    assert of_parquet.columns == of_csv.columns
    for split in of_csv.splits:
        for ours, theirs in zip(of_parquet.splits[split].read_all(), of_csv.splits[split].read_all(), strict=True):
            assert np.array_equal(ours, theirs, equal_nan=True)
    (tmp_path / "my.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UserError, match=r"my.parquet is damaged"):
        series(tmp_path / "my.parquet")


def test_a_forecast_of_a_longer_series_and_its_figures(seqlab, tmp_path: Path) -> None:
    write_series(tmp_path / "my.csv", rows=200)
    words = [
        "data=series",
        "data.path=my.csv",
        "data.window=12",
        "data.horizon=4",
        "model=linear",
        "trainer.max_epochs=1",
    ]
    assert seqlab("train", *words, "device=cpu").status == 0
    (run,) = tmp_path.glob("runs/*/*")
    write_series(tmp_path / "longer.csv", rows=260)
    (tmp_path / "my.csv").unlink()
    answer = seqlab("forecast", "run=last", "steps=3", "data.path=longer.csv", "out=next.csv")
    assert answer.status == 0, answer.err
    assert len((tmp_path / "next.csv").read_text().splitlines()) == 4
    assert (tmp_path / "next.png").is_file()
    events = event_accumulator.EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    assert {"val/forecast", "val/horizon", "test/forecast", "test/horizon"} <= set(events.Tags()["images"])
