"""A time series from a CSV file, its split in time order, its scale and its baselines.

Steps are numbered from 0. A target is the step to forecast; its window ends `horizon` steps before
it. A target belongs to one part only; a window may reach back into the part before its own, as the
past is known when a forecast is made. The scale comes from the steps of the training part alone.
"""

import csv
import io
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import UserError

TRAINING_SHARE, VALIDATION_SHARE = 0.70, 0.15

Values = NDArray[np.float64]
Steps = NDArray[np.int64]


class Series(NamedTuple):
    """One column of a file.

    `values` is [steps]; `times`, where the file has a column of increasing ISO time stamps, has one
    entry a step and serves the picture only.
    """

    name: str
    values: Values
    times: list[datetime] | None


class Parts(NamedTuple):
    """The targets of each part, [count] each, in time order, and the training part's length."""

    train: Steps
    validation: Steps
    test: Steps
    training_steps: int


class Scale(NamedTuple):
    """Mean and standard deviation of the training part."""

    mean: float
    deviation: float

    def normalise(self, values: Values) -> NDArray[np.float32]:
        """Values in standard deviations from the mean.

        Raises `UserError` where one lies so far out that float32 training makes no sense.
        """
        normalised = (values - self.mean) / self.deviation
        if np.abs(normalised).max() > 1e6:
            raise UserError(
                "the series leaves the mean of its training part by more than a million standard "
                "deviations"
            )
        return normalised.astype(np.float32)

    def restore(self, normalised: NDArray[np.float32]) -> Values:
        """The inverse of `normalise`."""
        return normalised * np.float64(self.deviation) + self.mean


class Errors(NamedTuple):
    """Root mean squared and mean absolute error, in the units of the series."""

    rmse: float
    mae: float


def read_series(path: Path, column: str | None) -> Series:
    """Reads one column of a CSV file with a header line.

    `column` may be None where the file has one column only. Raises `UserError` for whatever is
    wrong with the file, naming the line where there is one.
    """
    rows = _read_rows(path)
    header = [name.strip() for name in rows[0][1]]
    column = _check_column(path, header, column)
    position = header.index(column)
    values = [_number(path, line, column, cells[position]) for line, cells in rows[1:]]
    times = None
    for other in range(len(header)):
        if other != position and times is None:
            times = _times([cells[other] for _, cells in rows[1:]])
    return Series(column, np.array(values, dtype=np.float64), times)


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The records of a file with their line numbers; all have as many cells as the header."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a CSV file: it is not UTF-8 text") from error
    if "\0" in text:
        raise UserError(f"{path} is not a CSV file: it is binary")
    if not text.strip():
        raise UserError(f"{path} is empty")

    reader = csv.reader(io.StringIO(text.rstrip() + "\n", newline=""), strict=True)
    rows = []
    try:
        for cells in reader:
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is not CSV: {error}") from error
    if len(rows) == 1:
        raise UserError(f"{path} has a header line but no rows")
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise UserError(
                f"{path}: line {line} has {_count(len(cells), 'cell')}, but the header has {width}"
            )
    return rows


def _check_column(path: Path, header: list[str], column: str | None) -> str:
    """The name of the column to read."""
    there_are = ", ".join(repr(name) for name in header)
    if column is None and len(header) == 1:
        return header[0]
    if column is None:
        raise UserError(f"--column is needed: {path} has the columns {there_are}")
    if column not in header:
        raise UserError(f"{path} has no column {column!r}; there are {there_are}")
    if header.count(column) > 1:
        raise UserError(f"{path} has more than one column {column!r}; there are {there_are}")
    return column


def _number(path: Path, line: int, column: str, cell: str) -> float:
    """A cell as a finite number."""
    place = f"{path}: line {line}, column {column!r}"
    if not cell.strip():
        raise UserError(f"{place} has no value")
    shown = repr(cell if len(cell) <= 40 else cell[:37] + "...")
    try:
        value = float(cell.replace("_", "?"))  # Python alone reads 1_000 as a number
    except ValueError:
        raise UserError(f"{place}: {shown} is not a number") from None
    if not np.isfinite(value):
        raise UserError(f"{place}: {shown} is not finite")
    return value


def _times(cells: list[str]) -> list[datetime] | None:
    """The cells as increasing time stamps, or None where they are anything else."""
    try:
        times = [datetime.fromisoformat(cell.strip()) for cell in cells]
        increasing = all(a < b for a, b in zip(times, times[1:], strict=False))
    except (ValueError, TypeError):  # TypeError: some stamps have a time zone and some have none
        return None
    return times if increasing else None


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def split(steps: int, window: int, horizon: int, season: int) -> Parts:
    """Splits a series of `steps` steps in time order: 70% to train, 15% to validate, 15% to test.

    Raises `UserError` where a part would be left without a forecast.
    """
    training_steps = int(steps * TRAINING_SHARE)
    validation_steps = int(steps * VALIDATION_SHARE)
    test_begin = training_steps + validation_steps
    first = window - 1 + horizon  # the first target with a whole window before it
    lag = seasonal_lag(horizon, season)
    if validation_steps == 0 or first >= training_steps or lag > test_begin:
        raise UserError(
            f"the series is too short: {_count(steps, 'value')}, where a window of {window}, "
            f"a horizon of {horizon} and a season of {season} need more"
        )
    return Parts(
        np.arange(first, training_steps),
        np.arange(training_steps, test_begin),
        np.arange(test_begin, steps),
        training_steps,
    )


def scale_of(training: Values) -> Scale:
    """The scale of the training part's values; raises `UserError` where they do not vary."""
    with np.errstate(over="ignore", invalid="ignore"):
        scale = Scale(float(training.mean()), float(training.std()))
    if not np.isfinite(scale).all():
        raise UserError("the values are too large: their variance overflows")
    if training.min() == training.max() or scale.deviation == 0:
        raise UserError(
            f"the series is constant in its training part, its first {len(training):,} values"
        )
    return scale


def naive(values: Values, targets: Steps, horizon: int) -> Values:
    """Forecasts the last value of the window, [targets]."""
    return values[targets - horizon]


def seasonal_naive(values: Values, targets: Steps, horizon: int, season: int) -> Values:
    """Forecasts the last known value of the same phase of the season, [targets]."""
    return values[targets - seasonal_lag(horizon, season)]


def seasonal_lag(horizon: int, season: int) -> int:
    """The least whole number of seasons that reaches `horizon` steps back or further."""
    return -(-horizon // season) * season


def errors(forecast: Values, values: Values) -> Errors:
    """Errors of a forecast [count] of values [count]."""
    difference = forecast - values
    return Errors(float(np.sqrt(np.mean(difference**2))), float(np.mean(np.abs(difference))))
