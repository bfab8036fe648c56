"""`python -m fused_rnn`: the environment report, and the commands forecast and course."""

import argparse
import io
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import course
from .forecast import UserError
from .forecast.command import add_arguments, run


class Parser(argparse.ArgumentParser):
    """A parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        self.fail(f"{message} (--help lists the options)")

    def fail(self, message: str) -> NoReturn:
        """Ends the process with status 2 and one line on stderr."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the arguments name; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may not fit the terminal
    parser = Parser(
        prog="python -m fused_rnn",
        description="Without a command: prints versions, what was built and what is in use.",
    )
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    forecast = commands.add_parser(
        "forecast",
        help="train an RNN, GRU or LSTM on a real time series, and torch.nn's beside it",
        description="Trains a network to forecast a real time series, and torch.nn's beside it; "
        "states the errors beside those of naive forecasts and saves a picture.",
    )
    add_arguments(forecast)
    lessons = commands.add_parser(
        "course",
        help="run a chapter of the course on recurrent networks",
        description="Without a chapter: lists them.",
    )
    lessons.add_argument("chapter", nargs="?", choices=course.CHAPTERS, metavar="CHAPTER")
    lessons.add_argument(
        "options", nargs=argparse.REMAINDER, help="the chapter's own; --help lists them"
    )
    options = parser.parse_args(arguments)
    if options.command is None:
        from .environment import report

        print(report())
        return 0
    try:
        if options.command == "forecast":
            run(options)
        elif options.chapter is None:
            print(course.contents())
        else:
            return course.run(options.chapter, options.options)
    except UserError as error:
        commands.choices[options.command].fail(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def run_as_program() -> NoReturn:
    """`main`, for a reader of its output that may go away before the end, such as `head`."""
    try:
        try:
            status = main()
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        # What is left cannot be written, and the interpreter would try once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    sys.exit(status)


def _reader_is_gone() -> bool:
    """Whether it is standard output that broke: a pipe that nobody reads is in a state of error."""
    if not sys.stdout:
        return False
    output = select.poll()
    output.register(sys.stdout, 0)
    return bool(output.poll(0))


if __name__ == "__main__":
    run_as_program()
