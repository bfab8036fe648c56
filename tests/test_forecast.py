"""`python -m fused_rnn forecast`: no leakage, clear errors, and a forecast better than naive."""

import argparse
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from fused_rnn.__main__ import main
from fused_rnn.forecast import UserError, command, experiment, series, training

WINDOW, HORIZON, SEASON = 8, 3, 6


def write_series(folder, cells, column="value"):
    """A CSV file with daily time stamps and the cells."""
    path = folder / "series.csv"
    first = np.datetime64("2024-01-01")
    rows = [f"{first + i},{cell}\n" for i, cell in enumerate(cells)]
    path.write_text(f"day,{column}\n" + "".join(rows), encoding="utf-8")
    return path


def sine(steps):
    return [f"{math.sin(i):.6f}" for i in range(steps)]


def forecast_error(path, capsys, *options):
    """The line on stderr of a forecast that must fail with status 2 and nothing else."""
    with pytest.raises(SystemExit) as stop:
        main(["forecast", f"--data={path}", *options])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == ""
    assert err.count("\n") == 1 and err.endswith("\n"), err
    return err


def run_command(folder, *options):
    """Runs the command as a user does, with warnings as errors; returns what it printed."""
    command = [sys.executable, "-W", "error", "-m", "fused_rnn", "forecast", *options]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout


def run_here(capsys, *options):
    """Runs the command in this process, which need not import torch again."""
    assert main(["forecast", *options]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def table(out):
    """The printed errors: name -> (RMSE, MAE)."""
    rows = re.findall(r"^  (\S.*?) {2,}(\d+\.\d+) +(\d+\.\d+)$", out, re.MULTILINE)
    return {name: (float(rmse), float(mae)) for name, rmse, mae in rows}


def is_png(path):
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


class TestSplit:
    def test_parts_follow_each_other_and_share_no_target(self):
        parts = series.split(200, WINDOW, HORIZON, SEASON)
        targets = np.concatenate([parts.train, parts.validation, parts.test])
        assert np.array_equal(targets, np.arange(WINDOW - 1 + HORIZON, 200))
        assert (len(parts.validation), len(parts.test)) == (30, 30)
        assert parts.train[-1] < parts.training_steps <= parts.validation[0]

    def test_scale(self):
        values = np.sin(np.arange(200.0))
        scale = series.scale_of(values)
        normalised = scale.normalise(values)
        assert normalised.dtype == np.float32
        assert abs(normalised.mean()) < 1e-6 and abs(normalised.std() - 1) < 1e-6
        assert np.allclose(scale.restore(normalised), values, atol=1e-6)

    def test_windows_end_the_horizon_before_their_target_in_time_order(self):
        windows = training.Windows(torch.arange(200.0), WINDOW, HORIZON)
        for part in series.split(200, WINDOW, HORIZON, SEASON)[:3]:
            inputs, targets = windows.batch(torch.from_numpy(part))
            expected = torch.arange(1 - WINDOW, 1) - HORIZON  # steps relative to the target
            assert torch.equal(inputs - targets[:, None], expected.float().expand_as(inputs))
            assert torch.equal(targets, torch.from_numpy(part).float())

    @pytest.mark.parametrize("steps", range(30))
    def test_short_series_either_fill_every_part_or_are_refused(self, steps):
        try:
            parts = series.split(steps, WINDOW, HORIZON, SEASON)
        except UserError as error:
            assert f"too short: {steps} value" in str(error)
            assert steps < 20
        else:
            assert all(len(part) for part in parts[:3])
            assert series.seasonal_lag(HORIZON, SEASON) <= parts.test[0]

    def test_baselines(self):
        values, targets = np.arange(100.0), np.array([50, 60])
        assert series.naive(values, targets, 6).tolist() == [44, 54]
        assert series.seasonal_naive(values, targets, 6, 24).tolist() == [26, 36]
        assert series.seasonal_naive(values, targets, 30, 24).tolist() == [2, 12]
        assert series.errors(np.array([3.0, -4.0]), np.zeros(2)) == (math.sqrt(12.5), 3.5)


class TestNoLeakage:
    """Runs the experiment on two series that differ in their last part or parts only."""

    def options(self, folder, cells):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        folder.mkdir()
        data = write_series(folder, cells)
        sizes = f"--window={WINDOW} --horizon={HORIZON} --season={SEASON} --hidden=4 --epochs=3"
        return parser.parse_args([f"--data={data}", "--column=value", *sizes.split()])

    def test_scale_comes_from_the_training_part(self, tmp_path):
        one, other = (
            experiment.prepare(self.options(tmp_path / name, sine(140) + tail))
            for name, tail in {"one": sine(60), "other": [50 + i for i in range(60)]}.items()
        )
        assert one.parts.training_steps == 140
        assert one.scale == other.scale
        assert torch.equal(one.windows.values[:140], other.windows.values[:140])
        assert not torch.equal(one.windows.values[140:], other.windows.values[140:])

    def test_training_and_choice_of_the_epoch_do_not_see_the_test_part(self, tmp_path):
        one, other = (
            experiment.train(experiment.prepare(self.options(tmp_path / name, sine(170) + tail)))
            for name, tail in {"one": sine(30), "other": [5 + i for i in range(30)]}.items()
        )
        for a, b in zip(one.trainers, other.trainers, strict=True):
            assert (a.losses, a.validation_losses) == (b.losses, b.validation_losses)
            assert all(map(torch.equal, a.model.parameters(), b.model.parameters()))
        assert one.errors != other.errors

    def test_the_best_epoch_of_the_validation_part_is_kept(self, tmp_path):
        outcome = experiment.train(experiment.prepare(self.options(tmp_path / "one", sine(200))))
        targets = torch.from_numpy(outcome.experiment.parts.validation)
        for trainer in outcome.trainers:
            best = trainer.forecast(targets)
            loss = (best - trainer.windows.values[targets]).square().mean().item()
            assert loss == min(trainer.validation_losses)
            trainer.model.head.bias.data += 10
            trainer.validate(targets)
            trainer.restore_best()
            assert torch.equal(trainer.forecast(targets), best)


class TestRead:
    def test_values_and_times(self, tmp_path):
        read = series.read_series(write_series(tmp_path, [1, -2.5, "3e2"]), "value")
        assert read.values.tolist() == [1, -2.5, 300]
        assert [t.isoformat() for t in read.times] == [
            f"2024-01-0{day}T00:00:00" for day in (1, 2, 3)
        ]

    def test_one_column_needs_no_name_and_byte_order_mark_and_blank_end_are_no_matter(
        self, tmp_path
    ):
        path = tmp_path / "one.csv"
        path.write_bytes(b"\xef\xbb\xbf value \r\n1\r\n2\r\n\r\n\r\n")
        read = series.read_series(path, None)
        assert (read.name, read.values.tolist(), read.times) == ("value", [1, 2], None)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty"),
            (b" \n\n", "is empty"),
            (b"day,value\n", "has a header line but no rows"),
            (b"\x89PNG\r\n\x1a\n\x00", "not a CSV file"),
            (b"day,value\n1,\x002\n", "not a CSV file: it is binary"),
            (b'day,value\n1,"2\n', "line 2 is not CSV"),
            (b"day,value\n1,2\n3\n", "line 3 has 1 cell, but the header has 2"),
            (b"day,value\n1,2\n\n3,4\n", "line 3 has 0 cells, but the header has 2"),
            (b"day,value\n1,2\n2,high\n", "line 3, column 'value': 'high' is not a number"),
            (b"day,value\n1,1_000\n", "line 2, column 'value': '1_000' is not a number"),
            (b"day,value\n1,2\n2,\n", "line 3, column 'value' has no value"),
            (b"day,value\n1,nan\n", "line 2, column 'value': 'nan' is not finite"),
            (b"day,value\n1,2\n2,-inf\n", "line 3, column 'value': '-inf' is not finite"),
            (b"day,level\n1,2\n", "has no column 'value'; there are 'day', 'level'"),
            (b"day;value\n1;2\n", "has no column 'value'; there are 'day;value'"),
            (b"value,value\n1,2\n", "more than one column 'value'"),
        ],
    )
    def test_bad_files(self, content, message, tmp_path, capsys):
        path = tmp_path / "bad.csv"
        path.write_bytes(content)
        error = forecast_error(path, capsys, "--column=value")
        assert message in error and str(path) in error

    def test_missing_file_and_folder(self, tmp_path, capsys):
        assert "cannot read" in forecast_error(tmp_path / "none.csv", capsys, "--column=value")
        assert "cannot read" in forecast_error(tmp_path, capsys, "--column=value")

    def test_missing_column_name(self, tmp_path, capsys):
        error = forecast_error(write_series(tmp_path, sine(5)), capsys)
        assert "--column is needed" in error and "'day', 'value'" in error


class TestUnfitSeries:
    @pytest.mark.parametrize(
        ("cells", "message"),
        [
            (sine(60), "too short: 60 values, where a window of 48"),
            ([7] * 400, "constant in its training part, its first 280 values"),
            ([7] * 300 + sine(100), "constant in its training part"),
            ([f"{(-1) ** i * 1e300}" for i in range(400)], "variance overflows"),
            (sine(300) + ["1e30"] * 100, "more than a million standard deviations"),
        ],
    )
    def test_is_refused(self, cells, message, tmp_path, capsys):
        error = forecast_error(write_series(tmp_path, cells), capsys, "--column=value")
        assert message in error

    def test_season_longer_than_the_past(self, tmp_path, capsys):
        path = write_series(tmp_path, sine(400))
        error = forecast_error(path, capsys, "--column=value", "--season=365")
        assert "too short" in error and "a season of 365" in error


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_own_series_end_to_end(cell, tmp_path, capsys):
    column = "level $m_2$"  # no mathematics for matplotlib
    data, picture = write_series(tmp_path, sine(300), column), tmp_path / "a b.png"
    options = f"--cell={cell} --hidden=9 --layers=2 --bidirectional --epochs=2 --seed=3 --season=7"
    files = (f"--data={data}", f"--column={column}", f"--output={picture}")
    out = run_here(capsys, *options.split(), *files)
    names = [f"fused_rnn {cell.upper()}", f"torch.nn {cell.upper()}", "naive", "seasonal naive"]
    assert list(table(out)) == names
    assert f"units of {column}" in out and "2024-01-01 00:00 to 2024-10-26 00:00" in out
    assert "bidirectional, layers 2, hidden 9, seed 3, epochs 2, threads 1" in out
    assert float(re.search(r"relative difference (\S+)", out)[1]) < 1e-4
    assert is_png(picture)


def test_picture_formats_and_a_series_without_times(tmp_path, capsys):
    data = tmp_path / "one.csv"
    data.write_text("value\n" + "\n".join(sine(200)), encoding="utf-8")
    options = ["--no-compare", "--epochs=1", "--hidden=4", f"--data={data}"]
    for name, begin in {"a.pdf": b"%PDF", "a.SVG": b"<?xml"}.items():
        run_here(capsys, *options, f"--output={tmp_path / name}")
        assert (tmp_path / name).read_bytes().startswith(begin)


def test_no_compare_leaves_torch_out_and_runs_repeat(tmp_path, capsys):
    data = write_series(tmp_path, sine(200))
    options = ["--no-compare", "--epochs=2", "--hidden=4", f"--data={data}", "--column=value"]
    picture = tmp_path / "forecast.png"
    first, second = (run_here(capsys, *options, f"--output={picture}") for _ in range(2))
    assert "torch.nn" not in first and "Losses" not in first
    assert first == second
    assert is_png(picture)


def test_threads_are_as_before_afterwards(tmp_path, capsys):
    data, before = write_series(tmp_path, sine(200)), torch.get_num_threads()
    options = ["--epochs=1", "--hidden=4", f"--data={data}", "--column=value"]
    run_here(capsys, *options, f"--threads={before + 1}", f"--output={tmp_path / 'a.png'}")
    assert torch.get_num_threads() == before


def test_says_so_where_the_forecast_is_no_better(tmp_path, capsys):
    data = write_series(tmp_path, [i % 6 for i in range(200)])  # seasonal naive is exact
    options = ["--no-compare", "--epochs=1", f"--data={data}", "--column=value", "--season=6"]
    out = run_here(capsys, *options, f"--output={tmp_path / 'forecast.png'}")
    assert "NOT better than seasonal naive" in out


def test_as_a_command_with_the_series_that_comes_along(tmp_path):
    out = run_command(tmp_path, "--epochs=1", "--hidden=4", "--window=12")
    assert "8,730 values, 2013-01-01 06:00 to 2013-12-30 23:00" in out
    assert "Error on the test part, in °C" in out
    assert list(table(out)) == ["fused_rnn LSTM", "torch.nn LSTM", "naive", "seasonal naive"]
    assert is_png(tmp_path / "forecast.png")


@pytest.mark.slow
def test_default_run_beats_both_baselines_and_equals_torch(tmp_path):
    out = run_command(tmp_path)
    errors = table(out)
    ours, theirs = errors["fused_rnn LSTM"], errors["torch.nn LSTM"]
    for baseline in ("naive", "seasonal naive"):
        assert all(own < 0.95 * other for own, other in zip(ours, errors[baseline], strict=True))
    assert ours == pytest.approx(theirs, rel=1e-2)
    assert float(re.search(r"relative difference (\S+)", out)[1]) < 1e-4
    assert re.search(r"Time +\S+ s against \S+ s an epoch", out)
    assert is_png(tmp_path / "forecast.png")
