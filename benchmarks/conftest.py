"""The option --threads and the marker `quick` of `pytest benchmarks`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--threads", type=int, default=1, help="threads of torch (default: 1)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "quick: the reduced run of the benchmarks")


@pytest.fixture(scope="session", autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.config.getoption("--threads"))
    yield torch.get_num_threads()
    torch.set_num_threads(before)
