"""examples/reproduce.py: the same bits where it claims them, and other bits where it does not."""

from typing import Any

import pytest

import examples

examples.needs()
pytestmark = pytest.mark.slow

SAME = {"run", "again", "two_threads", "not_deterministic", "resumed"}


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result: dict[str, Any] = examples.run("reproduce", tmp_path_factory.mktemp("first"))["numbers"]
    return result


def test_the_seed_the_threads_and_the_checkpoint_keep_every_bit(numbers: dict[str, Any]) -> None:
    runs = numbers["runs"]
    assert {runs[name]["hash"] for name in SAME} == {runs["run"]["hash"]}
    assert all(runs[name]["difference"] == 0 for name in SAME)


def test_every_part_of_the_checkpoint_is_needed(numbers: dict[str, Any]) -> None:
    others = {name: run for name, run in numbers["runs"].items() if name not in SAME}
    assert len(others) == 9
    assert all(run["difference"] > 0 for run in others.values()), others
    assert len({run["hash"] for run in others.values()}) == 9


def test_another_process_gets_the_same_bits(numbers: dict[str, Any], tmp_path: Any) -> None:
    again = examples.run("reproduce", tmp_path)["numbers"]["runs"]
    for name, run in numbers["runs"].items():
        assert (run == again[name]) == (name != "no_seed"), name


def test_our_layers_have_the_same_bits_on_two_threads(numbers: dict[str, Any]) -> None:
    threads = numbers["threads"]
    assert all(threads[f"fused_rnn_{cell}"] == 0 for cell in ("lstm", "gru", "rnn"))
    assert all(difference < 1e-4 for difference in threads.values())


def test_the_workers_noise_repeats_unless_they_are_seeded(numbers: dict[str, Any]) -> None:
    assert numbers["distinct_noise"] == 1
    assert numbers["distinct_noise_unseeded"] == 0.25  # of 2 workers, each twice
