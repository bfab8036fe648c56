"""The bugs that mutate_sync.py plants in csrc/cuda: each rule finds its places in the sources.

A mutant is one piece of one file replaced by another text. Rules work on code(text), where comments
and what only nvcc compiles are blank, so that offsets are those of the file. What needs no rule of
its own is found by itself: every barrier, every shuffle, every condition. check_coverage refuses a
synchronisation or an `if` that no rule reaches.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CSRC = Path(__file__).resolve().parents[1] / "csrc"

Piece = tuple[int, int, str]  # of the code, and what replaces it


@dataclass(frozen=True)
class Mutant:
    """One piece of a file of csrc replaced by `new`; `scope` is the code that its rule looked at."""

    rule: str
    file: str
    start: int
    end: int
    old: str
    new: str
    line: int
    scope: tuple[int, int]

    @property
    def name(self) -> str:
        """Without the number of the line, which other changes move."""
        return f"{self.file}: {_short(self.old)} -> {_short(self.new) or 'nothing'}"

    def apply(self, text: str) -> str:
        assert text[self.start : self.end] == self.old
        return text[: self.start] + self.new + text[self.end :]


def _short(text: str) -> str:
    return " ".join(text.split())


def code(text: str) -> str:
    """The text with spaces for comments and for what only nvcc compiles."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    text = re.sub(r"//.*", blank, text)
    return re.sub(r"^#if defined\(__CUDA.*?^#(else|elif|endif)", blank, text, flags=re.M | re.S)


# --- Conditions ---


def _closing(text: str, opening: int) -> int:
    """Where the bracket that opens there is closed."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0:
            return at
    raise ValueError("a bracket is not closed")


def _parts(text: str, start: int, end: int, separator: str) -> list[tuple[int, int]]:
    """The operands of && or || that are in no brackets."""
    depth, parts, first = 0, [], start
    for at in range(start, end):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0 and text.startswith(separator, at):
            parts.append((first, at))
            first = at + len(separator)
    return [_stripped(text, *part) for part in [*parts, (first, end)]]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


WEAKER = {"<": "<=", ">": ">=", "<=": "<", ">=": ">"}


def condition(text: str, start: int, end: int) -> Iterator[Piece]:
    """Each guard of a condition dropped, and each comparison off by one."""
    start, end = _stripped(text, start, end)
    alternatives, guards = _parts(text, start, end, "||"), _parts(text, start, end, "&&")
    if len(alternatives) > 1:
        yield from ((*part, "false") for part in alternatives)
    else:
        yield from ((*part, "true") for part in guards)
    for match in re.finditer(r" (<=|>=|<|>) ", text[start:end]):
        yield start + match.start(1), start + match.end(1), WEAKER[match[1]]


def choice(text: str, start: int, end: int) -> Iterator[Piece]:
    """The same, and the condition false."""
    yield from condition(text, start, end)
    yield *_stripped(text, start, end), "false"


def repeated(text: str, start: int, end: int) -> Iterator[Piece]:
    """A loop's condition: as for any, but never true for ever."""
    for piece in condition(text, start, end):
        if piece[:2] != _stripped(text, start, end):
            yield piece


def _brackets_after(pattern: str, pieces: Callable[[str, int, int], Iterator[Piece]]) -> "Rule":
    def find(text: str) -> Iterator[tuple[tuple[int, int], Piece]]:
        for match in re.finditer(pattern, text):
            inside = match.end(), _closing(text, match.end() - 1)
            for piece in pieces(text, *inside):
                yield (match.start(), inside[1]), piece

    return find


def _ternary(text: str) -> Iterator[tuple[tuple[int, int], Piece]]:
    """Conditions before a question mark, back to where their expression starts."""
    for match in re.finditer(r" \?\s", text):
        depth, start = 0, match.start()
        while depth >= 0 and not (depth == 0 and re.match(r",|;|return | = ", text[start - 1 :])):
            start -= 1
            depth += (text[start] in ")]}") - (text[start] in "([{")
        start = match.start() - len(re.sub(r"^(.|return |[ =]+)", "", text[start : match.start()]))
        for piece in choice(text, start, match.start()):
            yield (start, match.end()), piece


def _group(pattern: str, *pieces: str | Callable[[str, int, int], Iterator[Piece]]) -> "Rule":
    """The group x of a regular expression replaced by each text (a template), or mutated."""

    def find(text: str) -> Iterator[tuple[tuple[int, int], Piece]]:
        for match in re.finditer(pattern, text):
            for piece in pieces:
                if isinstance(piece, str):
                    yield match.span(), (*match.span("x"), match.expand(piece))
                else:
                    yield from ((match.span(), found) for found in piece(text, *match.span("x")))

    return find


# --- The rules ---

Rule = Callable[[str], Iterator[tuple[tuple[int, int], Piece]]]

KERNELS = r"cuda/(units|launch|persistent\w*|step_\w+)\.cuh?"
LOOPS = r"cuda/(persistent\w*\.cuh|runs\.cpp)"

RULES: list[tuple[str, str, Rule]] = [
    # name, files, rule
    ("barrier", ".*", _group(r"(?P<x>__syncthreads\(\))", "(void)0", "__syncwarp()")),
    ("warp's barrier", ".*", _group(r"(?P<x>__syncwarp\([^()]*\))", "(void)0")),
    ("fence", ".*", _group(r"(?P<x>__threadfence\(\))", "(void)0")),
    ("acquire", ".*", _group(r"(?P<x>ld_acquire)\(", "ld_relaxed")),
    ("release", ".*", _group(r"(?P<x>red_add_release)\(", "red_add_relaxed")),
    ("wait for a copy", ".*", _group(r"(?P<x>cp_async_wait\([^()]*\))", "(void)0")),
    ("mask of a shuffle", ".*", _group(r"__shfl\w+\((?P<x>\w+),", "0xFFFFu")),
    ("distance of a shuffle", ".*", _group(r"__shfl\w+\([^()]*, (?P<x>\w+)\)", r"(\g<x> ^ 4)")),
    ("guard", ".*", _brackets_after(r"\bif \(", condition)),
    ("loop", ".*", _brackets_after(r"\bwhile \(", repeated)),
    ("lanes that take part", ".*", _brackets_after(r"\b(?:works|owns|exists)\(", condition)),
    ("guard", KERNELS, _group(r"return (?P<x>[^;?]+ && [^;?]+);", condition)),
    ("kept", ".*", _group(r"const bool kept = (?P<x>[^;]+);", choice)),
    ("has_gates", ".*", _group(r"const bool has_gates = (?P<x>[^;]+);", choice)),
    ("choice", KERNELS + r"|cuda/(plan|runs)\.cpp", _ternary),
    ("loop", LOOPS, _group(r"for \(.+; (?P<x>(?:k|lanes|i) < [^;]+);", condition_of_loop := None)),  # type: ignore[arg-type]
]
