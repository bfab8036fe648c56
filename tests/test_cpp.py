"""The C++ tests in tests/cpp, run alone: the maths of the cells, and what tiles ask for."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path.name for path in (ROOT / "tests/cpp").glob("*.cpp"))
COMPILER = shlex.split(os.environ.get("CXX", "c++"))
# With and without fused multiply-add: the two round differently.
TARGETS = {"default": [], "native": ["-march=native"]}

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER[0]) is None, reason=f"no C++ compiler ({COMPILER[0]}) on this machine"
)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_cpp(source: str, target: str, tmp_path: Path) -> None:
    program = tmp_path / source.removesuffix(".cpp")
    flags = ["-std=c++20", "-O2", "-Wno-psabi", "-ffp-contract=fast", *TARGETS[target]]
    command = [*COMPILER, *flags, f"-I{ROOT / 'csrc'}", str(ROOT / "tests/cpp" / source)]
    subprocess.run([*command, "-o", str(program)], check=True)
    result = subprocess.run([str(program)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
