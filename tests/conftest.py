"""What every test needs: a word on a warning of torch, and global state as it was before."""

import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import course_site
from backends import Backend
from fused_rnn import _C

# Warnings are errors, but for those that torch itself causes and that say nothing about us.
TORCH_WARNINGS = (
    "ignore:LSTM with projections is not supported with oneDNN:UserWarning",
    "ignore:`torch.jit.script(_method)?` is deprecated:DeprecationWarning",  # its own imports
    # torch 2.14's, in forward-mode differentiation, and in opcheck and export.
    "ignore:`torch.jit.script` is deprecated:FutureWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf Tensor is:UserWarning",
)


# A cached graph may hold calls of our ops as another build of them had them.
_CACHE = tempfile.TemporaryDirectory(prefix="inductor-")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _CACHE.name


# What takes seconds, by its marker, is sampled apart from what does not.
_SAMPLES = {
    "--fast-one-in": "of a test that is neither slow nor emulated",
    "--slow-one-in": "of a slow or emulated test",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    for option, which in _SAMPLES.items():
        parser.addoption(
            option,
            type=int,
            default=1,
            metavar="N",
            help=f"{which} run one in N sets of parameters, by a hash of their names, one at least",
        )


@pytest.hookimpl(trylast=True)  # after -m, -k and --deselect
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    one_in = {option: config.getoption(option) for option in _SAMPLES}
    for option, n in one_in.items():
        if n < 1:
            raise pytest.UsageError(f"{option} must be at least 1, got {n}")
    seen, left_out = set(), set()
    for item in items:
        slow = item.get_closest_marker("slow") or item.get_closest_marker("emulated")
        test = item.nodeid.partition("[")[0]
        n = one_in["--slow-one-in" if slow else "--fast-one-in"]
        if test in seen and zlib.crc32(item.nodeid.encode()) % n:
            left_out.add(item)
        seen.add(test)
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def pytest_configure(config: pytest.Config) -> None:
    for warning in TORCH_WARNINGS:
        config.addinivalue_line("filterwarnings", warning)


@pytest.fixture(autouse=True)
def _restore_global_state() -> Iterator[None]:
    """Seeds the test and puts back threads and instruction set, whatever it did to them.

    One thread, since the sizes are small: where other processes hold the cores, OpenMP's waits take
    a hundred times as long as the work. test_threads.py uses more, and FUSED_RNN_TEST_THREADS=2
    gives every test two.
    """
    threads, isa = torch.get_num_threads(), _C.cpu_isa()
    torch.set_num_threads(int(os.environ.get("FUSED_RNN_TEST_THREADS", "1")))
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    _C.set_cpu_isa(isa)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The backend of this run of a test, active; tests/backends.py has them."""
    chosen: Backend = request.param
    with chosen.active():
        yield chosen


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the course's site, built."""
    course_site.needs("sphinx", "furo", "myst_parser", "latex2mathml")
    folder = tmp_path_factory.mktemp("course") / "site"
    process = course_site.build(course_site.SOURCE, folder)
    assert process.returncode == 0, process.stderr
    return folder
