"""`python -m fused_rnn`: the environment report and the handling of arguments."""

import os
import signal
import subprocess
import sys

import pytest
import torch

import fused_rnn.__main__
from fused_rnn import _C
from fused_rnn.__main__ import main


def fails_in_one_line(arguments, capsys):
    """Runs the arguments, which must end with status 2 and one line on stderr; returns the line."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert err.count("\n") == 1 and err.endswith("\n"), err
    assert out == ""
    return err


def test_without_arguments_reports_versions_build_and_use(capsys):
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = {line[:14].strip(): line[14:] for line in out.splitlines()}
    assert torch.__version__ in report["torch"]
    assert report["CPU kernels"].startswith(", ".join(_C.build_info()["isas"]))
    assert (
        report["CUDA kernels"] == "built"
        or _C.build_info()["cuda_reason"] in report["CUDA kernels"]
    )
    assert report["ISA in use"].startswith(f"{_C.cpu_isa()}, ")
    assert "ATEN_CPU_CAPABILITY" in report["ISA in use"]
    assert report["threads"].startswith(f"{torch.get_num_threads()}; torch.set_num_threads")
    assert report["fused_rnn"][0].isdigit()


def test_report_obeys_the_environment():
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-m", "fused_rnn"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert process.returncode == 0, process.stderr
    assert "ISA in use    generic," in process.stdout
    assert "threads       1;" in process.stdout


@pytest.mark.parametrize("command", [[], ["course"]], ids=str)
def test_a_reader_that_goes_away(command):
    """As `| head -1` does: no traceback, and the status that a shell gives such a program."""
    read, write = os.pipe()
    os.close(read)
    arguments = [sys.executable, "-m", "fused_rnn", *command]
    process = subprocess.run(arguments, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (process.returncode, process.stderr) == (128 + signal.SIGPIPE, "")


def test_no_output_at_all():
    command = f"{sys.executable} -m fused_rnn >&-"
    process = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True)
    assert (process.returncode, process.stderr) == (0, "")


def test_another_pipe_that_breaks_is_an_error(monkeypatch):
    def broken():
        raise BrokenPipeError("of a worker")

    monkeypatch.setattr(fused_rnn.__main__, "main", broken)
    with pytest.raises(BrokenPipeError, match="of a worker"):
        fused_rnn.__main__.run_as_program()


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "forecast" in capsys.readouterr().out


def test_unknown_command(capsys):
    error = fails_in_one_line(["forceast"], capsys)
    assert "'forceast'" in error and "forecast" in error.split("choose from")[1]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--cell", "elman", "invalid choice: 'elman'"),
        ("--layers", "0", "0 is not from 1 to 16"),
        ("--hidden", "-5", "-5 is not from 1 to 4096"),
        ("--epochs", "2.5", "'2.5' is not a whole number"),
        ("--window", "many", "'many' is not a whole number"),
        ("--horizon", "0", "0 is not from 1"),
        ("--season", "0", "0 is not from 1"),
        ("--seed", "-1", "-1 is not from 0"),
        ("--threads", "0", "0 is not from 1"),
        ("--output", "picture.bmp", "'picture.bmp' does not end in .png, .pdf, .svg"),
        ("--output", "no/such/folder/a.png", "there is no folder 'no/such/folder'"),
    ],
)
def test_bad_option_values(option, value, message, capsys):
    error = fails_in_one_line(["forecast", f"{option}={value}"], capsys)
    assert message in error and option in error
