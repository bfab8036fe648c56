"""cuda_toolkit.py: whether CUDA kernels are built, for which GPUs, and which toolkit is found.

Toolkits here are folders of empty files with a script as nvcc: neither CUDA nor a GPU is needed.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


def load() -> ModuleType:
    """The module, which is beside setup.py and not installed."""
    path = Path(__file__).parents[1] / "cuda_toolkit.py"
    spec = importlib.util.spec_from_file_location("cuda_toolkit", path)
    assert spec and spec.loader
    module = sys.modules["cuda_toolkit"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cuda_toolkit = load()
ToolkitError = cuda_toolkit.ToolkitError

KNOWN = ("7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "12.0")  # to nvcc
ALL = "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"
NVCC = """#!/bin/sh
case "$1" in
--version) echo "Cuda compilation tools, release {release}, V{release}.88" ;;
--dryrun) printf '#$ _CUDART_=cudart\\n#$ TOP=%s\\n' '{home}/bin/..' >&2 ;;
--list-gpu-arch) printf 'compute_120\\ncompute_90\\ncompute_75\\n' ;;
esac
"""


def toolkit(known: tuple[str, ...] = KNOWN) -> object:
    folder = Path("/toolkit")
    return cuda_toolkit.Toolkit(folder, "13.0", folder, folder / "libcudart.so", known)


def no_toolkit() -> None:
    raise ToolkitError("there is no nvcc")


def must_not_be_called() -> None:
    pytest.fail("this answer was not needed")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make_toolkit(
    home: Path,
    release: str = "13.0",
    files: tuple[str, ...] = ("include/cuda_runtime.h", "lib64/libcudart.so"),
) -> Path:
    script(home / "bin/nvcc", NVCC.format(release=release, home=home))
    for name in files:
        home.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        home.joinpath(name).touch()
    return home


def find(tmp_path: Path, torch_cuda: str = "13.0", **environment: object) -> object:
    """find_toolkit in an environment without any CUDA but what `tmp_path` holds."""
    variables = {"PATH": str(tmp_path / "empty"), **{k: str(v) for k, v in environment.items()}}
    return cuda_toolkit.find_toolkit(
        variables, torch_cuda, tmp_path / "site-packages", tmp_path / "usual"
    )


@pytest.mark.parametrize(
    ("wanted", "torch_cuda", "gpus", "find", "built", "reason"),
    [
        (None, "13.0", ["9.0"], toolkit, "9.0", "a GPU was visible"),
        ("", "13.0", ["9.0"], toolkit, "9.0", "a GPU was visible"),
        (None, "13.0", ["8.0", "9.0"], toolkit, "8.0;9.0", "a GPU was visible"),
        (None, "13.0", [], must_not_be_called, None, "no GPU was visible"),
        (None, "13.0", ["9.0"], no_toolkit, None, "there is no nvcc"),
        (None, None, ["9.0"], must_not_be_called, None, "torch is built without CUDA"),
        ("0", "13.0", None, must_not_be_called, None, "FUSED_RNN_CUDA=0 was set"),
        ("1", "13.0", None, toolkit, ALL, "FUSED_RNN_CUDA=1 was set"),
    ],
)
def test_choice(wanted, torch_cuda, gpus, find, built, reason):
    """`gpus` None: they must not be looked for."""
    visible = must_not_be_called if gpus is None else lambda: gpus
    environment = {} if wanted is None else {"FUSED_RNN_CUDA": wanted}
    choice = cuda_toolkit.choose(environment, torch_cuda, visible, find)
    assert (choice.architectures or None) == built
    assert (choice.toolkit is not None) == (built is not None)
    assert reason in choice.reason


@pytest.mark.parametrize(
    ("wanted", "torch_cuda", "find", "sentence"),
    [
        ("yes", "13.0", toolkit, "FUSED_RNN_CUDA must be 0 or 1, but is 'yes'."),
        ("1", None, toolkit, "asks for CUDA kernels, but the installed torch is built without"),
        ("1", "13.0", no_toolkit, "asks for CUDA kernels, but there is no nvcc."),
    ],
)
def test_what_cannot_be_had_stops_in_one_sentence(wanted, torch_cuda, find, sentence):
    with pytest.raises(SystemExit) as stop:
        cuda_toolkit.choose({"FUSED_RNN_CUDA": wanted}, torch_cuda, must_not_be_called, find)
    message = str(stop.value.code)
    assert sentence in message
    assert message.endswith(".") and ". " not in message and "\n" not in message


@pytest.mark.parametrize("wanted", ["1", ""])
def test_torchs_own_variable_names_the_architectures(wanted):
    environment = {"FUSED_RNN_CUDA": wanted, "TORCH_CUDA_ARCH_LIST": "8.6 Hopper"}
    choice = cuda_toolkit.choose(environment, "13.0", lambda: ["9.0"], toolkit)
    assert choice.architectures == "8.6 Hopper"
    assert "TORCH_CUDA_ARCH_LIST" in choice.reason


@pytest.mark.parametrize(
    ("gpus", "known", "expected"),
    [
        ([], KNOWN, ALL),
        ([], ("7.5", "8.0", "8.6", "8.9", "9.0"), "7.5;8.0;8.6;8.9;9.0+PTX"),  # CUDA 12.6
        (["10.0", "9.0"], KNOWN, "9.0;10.0"),
        (["8.7"], KNOWN, "8.7"),  # known to nvcc, and not in the list of all
        (["10.3"], KNOWN, "10.0+PTX"),  # newer than nvcc knows
        (["13.0", "12.1"], KNOWN, "12.0+PTX"),
        (["7.0", "8.0"], KNOWN, "8.0"),  # the older one stays without
    ],
)
def test_architectures(gpus, known, expected):
    assert cuda_toolkit.architectures(toolkit(known), gpus) == expected


@pytest.mark.parametrize(
    ("gpu", "known", "problem"),
    [("7.0", KNOWN, "7.5 or later, and this machine has 7.0"), ("7.5", ("8.0",), "as old as 7.5")],
)
def test_gpus_too_old(gpu, known, problem):
    choice = cuda_toolkit.choose({}, "13.0", lambda: [gpu], lambda: toolkit(known))
    assert choice.toolkit is None and problem in choice.reason


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [([], []), ([(9, 0), (8, 6), (9, 0), (10, 0)], ["8.6", "9.0", "10.0"])],
)
def test_visible_gpus(capabilities, expected):
    cuda = SimpleNamespace(
        is_available=lambda: bool(capabilities),
        device_count=lambda: len(capabilities) or pytest.fail("there is no driver to ask"),
        get_device_capability=lambda index: capabilities[index],
    )
    assert cuda_toolkit.visible_gpus(cuda) == expected


def test_gpu_whose_driver_does_not_work():
    def fail(index):
        raise RuntimeError("CUDA driver initialization failed")

    cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 1, get_device_capability=fail
    )
    assert cuda_toolkit.visible_gpus(cuda) == []


def test_toolkit_of_a_wrapper_on_path(tmp_path):
    """PyTorch's own guess would be the folder above the script's."""
    home = make_toolkit(tmp_path / "cuda-13.0")
    wrapper = script(tmp_path / "local/bin/nvcc", f'#!/bin/sh\nexec {home}/bin/nvcc "$@"\n')
    found = find(tmp_path, PATH=wrapper.parent)
    assert found.home == home
    assert found.version == "13.0"
    assert found.include == home / "include"
    assert found.cudart == home / "lib64/libcudart.so"
    assert found.architectures == ("7.5", "9.0", "12.0")


def test_where_a_toolkit_is_looked_for_in_order(tmp_path):
    environment = {}
    for variable, folder in [("", "usual"), ("PATH", "b"), ("CUDA_PATH", "c"), ("CUDA_HOME", "d")]:
        home = make_toolkit(tmp_path / folder)
        if variable:
            environment[variable] = home / "bin" if variable == "PATH" else home
        assert find(tmp_path, **environment).home == home


def test_no_toolkit_at_all(tmp_path):
    with pytest.raises(ToolkitError, match="no nvcc on PATH and no .*usual; CUDA_HOME may name"):
        find(tmp_path)


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH"])
def test_wrong_folder_in_the_environment_is_named(tmp_path, variable):
    right = make_toolkit(tmp_path / "right").joinpath("bin")
    wrong = tmp_path / "wrong"
    with pytest.raises(ToolkitError, match=f"^{variable}={wrong} has no bin/nvcc$"):
        find(tmp_path, PATH=right, **{variable: wrong})
    script(wrong / "bin/nvcc", f'#!/bin/sh\nexec {right}/nvcc "$@"\n')
    with pytest.raises(ToolkitError, match=f"^{variable}={wrong} has no include/cuda_runtime.h$"):
        find(tmp_path, PATH=right, **{variable: wrong})


def test_major_version_must_be_torchs(tmp_path):
    home = make_toolkit(tmp_path / "cuda", release="12.8")
    assert find(tmp_path, torch_cuda="12.6", CUDA_HOME=home).version == "12.8"
    with pytest.raises(ToolkitError, match=r"cuda is CUDA 12\.8 and torch is built for CUDA 13\.0"):
        find(tmp_path, torch_cuda="13.0", CUDA_HOME=home)


def test_nvcc_that_does_not_run(tmp_path):
    home = make_toolkit(tmp_path / "cuda")
    home.joinpath("bin/nvcc").write_text("#!/no/such/interpreter\n")
    with pytest.raises(ToolkitError, match="nvcc does not say its release"):
        find(tmp_path, CUDA_HOME=home)


@pytest.mark.parametrize(
    ("header", "library"),
    [
        ("targets/x86_64-linux/include/cuda_runtime.h", "targets/x86_64-linux/lib/libcudart.so"),
        ("include/cuda_runtime.h", "lib/x86_64-linux-gnu/libcudart.so"),
        ("include/cuda_runtime.h", "lib/libcudart.so.13"),
    ],
)
def test_layouts_of_a_toolkit(tmp_path, header, library):
    home = make_toolkit(tmp_path / "cuda", files=(header, library))
    found = find(tmp_path, CUDA_HOME=home)
    assert found.include == home.joinpath(header).parent
    assert found.cudart == home / library


@pytest.mark.parametrize("folder", ["cu13", "cuda_runtime"])
def test_libcudart_that_only_torch_brings(tmp_path, folder):
    home = make_toolkit(tmp_path / "cuda", files=("include/cuda_runtime.h",))
    with pytest.raises(ToolkitError, match="neither CUDA_HOME=.* nor torch's own packages have"):
        find(tmp_path, CUDA_HOME=home)
    library = tmp_path / "site-packages/nvidia" / folder / "lib/libcudart.so.13"
    library.parent.mkdir(parents=True)
    library.touch()
    assert find(tmp_path, CUDA_HOME=home).cudart == library
