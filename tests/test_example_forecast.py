"""The chapter `forecast`: better than naive, nothing of the future in training, and the leaks."""

import numpy as np
import pytest
import torch

import examples
import fused_rnn

examples.needs("sklearn", "statsmodels")
pytestmark = pytest.mark.slow

WINDOW, AHEAD = 48, 24


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    return examples.run("forecast", tmp_path_factory.mktemp("forecast"))["numbers"]


@pytest.fixture
def forecasting(monkeypatch):
    monkeypatch.syspath_prepend(examples.FOLDER)
    import common.forecasting

    return common.forecasting


@pytest.fixture
def values():
    generator = np.random.default_rng(0)
    return np.sin(np.arange(1000) / 4) + generator.normal(size=1000)


def test_forecasts_beat_the_baselines(numbers):
    hour, day = numbers["hour"], numbers["day"]
    assert hour["gru"]["rmse"] < hour["naive"]["rmse"] < hour["seasonal_naive"]["rmse"]
    assert day["gru"]["rmse"] < 0.97 * day["naive"]["rmse"]
    assert day["gru"]["rmse"] < 0.85 * day["seasonal_naive"]["rmse"]
    assert day["gru"]["rmse"] < 1.04 * day["linear"]["rmse"]
    assert day["gru_both"]["rmse"] < day["naive"]["rmse"]  # over a closed window: no miracle
    assert day["gru_both"]["rmse"] > 0.93 * day["gru"]["rmse"]


def test_a_day_shows_in_the_autocorrelation(numbers):
    correlation = numbers["autocorrelation"]
    assert correlation["values"][1] > 0.98
    assert int(np.argmax(correlation["changes"][12:37])) + 12 in (23, 24, 25)


def test_both_directions_over_the_whole_series_see_the_future(numbers):
    one, both = numbers["one_direction"], numbers["both_directions"]
    naive = numbers["hour"]["naive"]["rmse"]
    assert both["whole"] < 0.3 * naive  # no forecast is that good
    assert both["cut"] > 2 * naive
    assert one["cut"] == pytest.approx(one["whole"], rel=0.02)


def test_a_shuffled_split_flatters(numbers):
    shuffled = numbers["shuffled_split"]
    assert shuffled["windows"] > 100
    assert shuffled["neighbour_same_hours_leaky"] < 0.5 * shuffled["neighbour_same_hours"]
    assert shuffled["reported"] < 0.9 * numbers["day"]["gru"]["rmse"]


def test_a_scale_of_all_values_differs(numbers):
    scale = numbers["scale"]
    assert abs(scale["mean_leaky"] - scale["mean"]) > 0.5
    assert scale["rmse_leaky"] == pytest.approx(scale["rmse"], rel=0.1)


def test_shapes(numbers):
    shapes = numbers["shapes"]
    assert shapes["output"] == [48, 8, 2 * 32] and shapes["h_n"] == [2 * 2, 8, 32]
    assert shapes["forward_ends_last"] and shapes["backward_ends_first"]


@pytest.mark.parametrize("ahead", [1, AHEAD])
def test_blocks_follow_their_windows_and_stay_in_their_part(forecasting, values, ahead):
    task = forecasting.prepare(values, WINDOW, ahead)
    every = np.concatenate([task.train, task.validation, task.test])
    windows, blocks = task.windows.batch(torch.from_numpy(every))
    normalised = task.scale.normalise(values)
    for target, window, block in zip(every, windows, blocks, strict=True):
        begin = target - ahead + 1
        assert np.array_equal(window, normalised[begin - WINDOW : begin])
        assert np.array_equal(block, normalised[begin : target + 1])
    assert task.train[-1] < task.validation[0] - ahead + 1
    assert task.validation[-1] < task.test[0] - ahead + 1
    np.testing.assert_allclose(task.blocks(every), task.scale.restore(blocks.numpy()), atol=1e-6)


def test_training_and_forecasts_know_nothing_of_what_comes_later(forecasting, values):
    """A network trained before the test part is the same whatever the test part holds."""
    recipe = forecasting.Recipe("gru", True, hidden=4, epochs=1, patience=1)
    later = values.copy()
    begin = forecasting.prepare(values, WINDOW, AHEAD).test[0] - AHEAD + 1
    later[begin:] = 5 * later[begin:] + 100
    first, second = (
        forecasting.Network(forecasting.prepare(v, WINDOW, AHEAD), recipe, 0, lambda epochs: None)
        for v in (values, later)
    )
    target = first.task.test[:1]  # its window ends before the test part
    assert np.array_equal(first.forecast(target), second.forecast(target))
    assert not np.array_equal(first.forecast(target + 30), second.forecast(target + 30))


def test_baselines(forecasting, values):
    task = forecasting.prepare(values, WINDOW, AHEAD)
    for forecast, known in (
        (forecasting.naive(task, task.test), lambda begin: np.full(AHEAD, values[begin - 1])),
        (forecasting.seasonal_naive(task, task.test), lambda begin: values[begin - 24 : begin]),
    ):
        for target, block in zip(task.test, forecast, strict=True):
            assert np.array_equal(block, known(target - AHEAD + 1))


def test_iterating_reads_its_own_forecasts(forecasting, values):
    """A step that adds one to the window's last value counts up."""
    day = forecasting.prepare(values, WINDOW, AHEAD)

    class Counting(forecasting.Forecaster):
        def step(self, windows):
            return windows[:, -1:] + 1

    steps = forecasting.Iterated(day, Counting(day)).step(torch.zeros(2, WINDOW))
    assert torch.equal(steps, torch.arange(1.0, AHEAD + 1).expand(2, -1))


def test_only_both_directions_see_later_steps():
    x = torch.randn(20, 1, 1)
    changed = x.clone()
    changed[11:] += 1
    for both in (False, True):
        layer = fused_rnn.GRU(1, 8, bidirectional=both)
        same = torch.equal(layer(x)[0][:11], layer(changed)[0][:11])
        assert same is not both


def test_too_long_a_window_is_named(tmp_path):
    with pytest.raises(AssertionError, match="too short"):
        examples.run("forecast", tmp_path, "--window=9000")
    with pytest.raises(AssertionError, match="2000 steps ahead"):
        examples.run("forecast", tmp_path, "--ahead=2000")
