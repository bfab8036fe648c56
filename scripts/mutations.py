"""The bugs that mutate_sync.py plants in csrc: each rule finds its places in the sources.

A mutant is one piece of one file replaced by another text. Rules read code(text), where comments
and what only nvcc compiles are blank, so that offsets are those of the file. They find every
barrier, shuffle and guard by themselves, and refuse a synchronisation or an `if` that they miss.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CSRC = Path(__file__).resolve().parents[1] / "csrc"

Span = tuple[int, int]
Change = tuple[Span, str]  # a piece of the code, and what replaces it
Changes = Callable[[str, Span], Iterator[Change]]  # of that part of the code
Find = Callable[[str], Iterator[tuple[Span, Change]]]  # the match, and a change in it


@dataclass(frozen=True)
class Rule:
    name: str
    files: str  # a regular expression
    find: Find


@dataclass(frozen=True)
class Mutant:
    rule: str
    file: str  # below csrc
    text: str = field(repr=False)  # the whole file
    span: Span
    new: str
    scope: Span  # what the rule matched

    @property
    def old(self) -> str:
        return self.text[slice(*self.span)]

    @property
    def mutated(self) -> str:
        return self.text[: self.span[0]] + self.new + self.text[self.span[1] :]

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.span[0]) + 1

    @property
    def key(self) -> tuple[str, str]:
        """The file, and the changed lines: a name that does not move with the lines above."""
        first = self.text.rfind("\n", 0, self.span[0]) + 1
        last = self.text.find("\n", self.span[1])
        lines = self.text[first : self.span[0]] + self.new + self.text[self.span[1] : last]
        return self.file, _one_line(lines)

    def __str__(self) -> str:
        change = f"{_one_line(self.old)} -> {self.new or 'nothing'}"
        return f"{self.rule}: {self.file}:{self.line}: {change}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def code(text: str) -> str:
    """The text with spaces for comments and for what only nvcc compiles."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    text = re.sub(r"//.*", blank, text)
    return re.sub(r"^#if defined\(__CUDA.*?^#(else|elif|endif)", blank, text, flags=re.M | re.S)


# --- What is changed about a condition ---


def _depths(text: str, span: Span) -> Iterator[tuple[int, int]]:
    """Each place and how many brackets are open after it."""
    depth = 0
    for at in range(*span):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        yield at, depth


def _stripped(text: str, span: Span) -> Span:
    piece = text[slice(*span)]
    return span[0] + len(piece) - len(piece.lstrip()), span[0] + len(piece.rstrip())


def _operands(text: str, span: Span, operator: str) -> list[Span]:
    """Of && or ||, where it is in no brackets."""
    ends = [at for at, depth in _depths(text, span) if depth == 0 and text.startswith(operator, at)]
    starts = [span[0], *(at + len(operator) for at in ends)]
    return [_stripped(text, part) for part in zip(starts, [*ends, span[1]], strict=True)]


WEAKER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


def off_by_one(text: str, span: Span) -> Iterator[Change]:
    for match in re.finditer(r" ([<>]=?) ", text[slice(*span)]):
        yield (span[0] + match.start(1), span[0] + match.end(1)), WEAKER[match[1]]


def guard(text: str, span: Span) -> Iterator[Change]:
    """Each part dropped; each comparison off by one."""
    refusals = _operands(text, span, "||")
    if len(refusals) > 1:
        yield from ((part, "false") for part in refusals)
    else:
        yield from ((part, "true") for part in _operands(text, span, "&&"))
    yield from off_by_one(text, span)


def choice(text: str, span: Span) -> Iterator[Change]:
    """As a guard, and never."""
    yield from guard(text, span)
    yield _stripped(text, span), "false"


def guard_of(text: str, span: Span) -> Iterator[Change]:
    """Of an `if`: what it guards is always done; and never, where that is to leave."""
    if text.startswith("const ", span[0]):  # the condition declares what it guards
        yield from ((span, f"{text[slice(*span)]}; {value}") for value in ("true", "false"))
        return
    leaves = re.match(r"\)\s*\{?\s*(return|continue)\b", text[span[1] :])
    yield from (choice if leaves else guard)(text, span)


def loop(text: str, span: Span) -> Iterator[Change]:
    """As a guard, but not for ever."""
    whole = _stripped(text, span)
    yield from (change for change in guard(text, span) if change[0] != whole)


# --- Where it is found ---


def group(pattern: str, *news: str | Changes) -> Find:
    """The group x of every match: replaced by each text (a template), or changed."""

    def find(text: str) -> Iterator[tuple[Span, Change]]:
        for match in re.finditer(pattern, text):
            for new in news:
                if isinstance(new, str):
                    yield match.span(), (match.span("x"), match.expand(new))
                else:
                    yield from ((match.span(), change) for change in new(text, match.span("x")))

    return find


def brackets(pattern: str, changes: Changes) -> Find:
    """What is in the brackets that every match ends with the opening of."""

    def find(text: str) -> Iterator[tuple[Span, Change]]:
        for match in re.finditer(pattern, text):
            rest = _depths(text, (match.end() - 1, len(text)))
            end = next(at for at, depth in rest if depth == 0)
            yield from (((match.start(), end), c) for c in changes(text, (match.end(), end)))

    return find


def _expression_start(text: str, end: int) -> int:
    """Where the expression starts whose last operand ends there."""
    depth = 0
    for at in range(end, 0, -1):
        depth += (text[at - 1] in ")]}") - (text[at - 1] in "([{")
        before = text[max(0, at - 8) : at]
        if depth < 0 or (depth == 0 and re.search(r"([,;]|\breturn\s|[^<>=!]=\s)$", before)):
            return at
    raise ValueError("no start")


def ternaries(text: str) -> Iterator[tuple[Span, Change]]:
    """The conditions before question marks."""
    for match in re.finditer(r"\s+\? ", text):
        start = _expression_start(text, match.start())
        if "constexpr" not in text[text.rfind("\n", 0, start) : start]:
            yield from (((start, match.end()), c) for c in choice(text, (start, match.start())))


# --- The rules ---

HOST = r"cuda/(plan|runs)\.cpp"
KERNELS = r"cuda/(units|launch|persistent\w*|step_\w+)\.cuh?"
PERSISTENT = r"cuda/persistent\w*\.cuh"
PLAN, RUNS = r"cuda/plan\.cpp", r"cuda/runs\..*"
ALL, LOOPS = r"cuda/.*", rf"{PERSISTENT}|{RUNS}"
# A loop's head up to the last comparison, but of the loops over a thread's own numbers.
FOR, LONG = r"for \([^;]+; (?:[^;]+ && )?", r"\b(?!(?:w|g|o|r|half)\b)\w+"

RULES = [
    Rule("barrier", ALL, group(r"(?P<x>__syncthreads\(\))", "(void)0", "__syncwarp()")),
    Rule("barrier", ALL, group(r"(?P<x>__syncwarp\([^()]*\))", "(void)0")),
    Rule("fence", ALL, group(r"(?P<x>__threadfence\(\))", "(void)0")),
    Rule("acquire", ALL, group(r"(?P<x>ld_acquire)\(", "ld_relaxed")),
    Rule("release", ALL, group(r"(?P<x>red_add_release)\(", "red_add_relaxed")),
    Rule("async copy", ALL, group(r"(?P<x>cp_async_(?:wait|commit)\([^()]*\))", "(void)0")),
    Rule("shuffle's mask", ALL, group(r"__shfl\w+\((?P<x>\w+),", "0xFFFFu")),
    Rule("shuffle's lane", ALL, group(r"__shfl\w+\([^()]*, (?P<x>\w+)\)", r"(\g<x> ^ 4)")),
    Rule("guard", ALL, brackets(r"\bif \(", guard_of)),
    Rule("guard", ALL, brackets(r"\bwhile \(", loop)),
    Rule("guard", ALL, brackets(r"\b(?:works|owns|exists)\(", guard)),
    Rule("guard", KERNELS, group(r"return (?P<x>[^;?]+ && [^;?]+);", guard)),
    Rule("guard", KERNELS, group(r"const bool (?:kept|has_gates) = (?P<x>[^;]+);", choice)),
    Rule("choice", f"{KERNELS}|{HOST}", ternaries),
    Rule("loop", LOOPS, group(rf"{FOR}(?P<x>{LONG} [<>]=? [^;]+);", off_by_one)),
    Rule("loop", LOOPS, group(rf"{FOR}(?P<x>(?!lanes){LONG}) < ", r"\g<x> + 1")),
    Rule("guard", LOOPS, group(r"for \([^;]+; (?P<x>[^;&]+) && ", "true")),
    Rule("reduction", PERSISTENT, group(r"; (?P<x>lanes) < ", "lanes * 2")),
    Rule("reduction", PERSISTENT, group(r"half = (?P<x>rows / 2);", "rows / 4")),
    Rule("reduction", PERSISTENT, group(r"; (?P<x>half > 0);", "half > 1")),
    Rule("reduction", PERSISTENT, group(r"int lanes = (?P<x>rows);", "2 * rows")),
    Rule("reduction", PERSISTENT, group(r"int k = (?P<x>slice);", "slice + slices", "0")),
    Rule("double buffer", PERSISTENT, group(r"\b(?P<x>i % 2)", "0")),
    Rule("double buffer", PERSISTENT, group(r"(?P<x>\(i \+ 1\) % 2)", "i % 2")),
    Rule("shared array", PERSISTENT, group(r"take<\w>\((?P<x>[^()]+)\)", r"\g<x> - 1")),
    Rule("rows", PERSISTENT, group(r"\b(?P<x>step\.row|(?<!\.)row) \*", "0")),
    Rule("rows", PERSISTENT, group(r"(?P<x>before)\.(?:row|size)\b", "step")),
    Rule("rows", KERNELS, group(r"int64_t\((?P<x>blockIdx\.\w)\)", "0")),
    Rule("rows", RUNS, group(r"(?P<x>runs\.direction \* |run\.row \+ | - run\.first)", "")),
    Rule("rows", RUNS, group(r"(?P<x>\bi|steps\[i\]\.row)(?=, steps)", "0")),
    Rule("runs", RUNS, group(r"&& (?P<x>.+\.size == .+\.size)\)", "false")),
    Rule("plan", PLAN, group(r"return \((?P<x>n \+ by - 1)\)", "n")),
    Rule(
        "plan", PLAN, group(r"(?:plan\.\w+|packs) = (?P<x>divide_up\((.+), (.+)\));", r"\2 / (\3)")
    ),
    Rule("plan", PLAN, group(r"(?P<x>round_up\(([^()]+), \w+\))[ ;]", r"(\2)")),
    Rule("plan", PLAN, group(r"(?P<x>product\.outputs \* \S*hidden)", r"\g<x> - 1")),
    Rule("plan", PLAN, group(r"(?P<x>2 \* product[^;]+);", r"\g<x> - shape.compute_size")),
]

# Formulas of the cells, to see that the suite checks the numbers themselves.
CELL_BUGS = [
    Rule("planted cell bug", f"cells/{file}", group(f"(?P<x>{re.escape(old)})", new))
    for file, old, new in (
        (
            "gru.h",
            "sigmoid(x[0] + r[0]), z = sigmoid(x[1] + r[1])",
            "sigmoid(x[1] + r[1]), z = reset",
        ),
        ("gru.h", "last.gate * (before.h - n)", "last.gate * (n - before.h)"),
        ("gru.h", "dx[2] * reset;", "dx[2];"),
        ("gru.h", "{grad.h * z,", "{grad.h * (one - z),"),
        ("lstm.h", "tape[0] = i, tape[1] = f", "tape[0] = f, tape[1] = i"),
        ("lstm.h", "dc * before.c", "dc * after.c"),
        ("lstm.h", "grad.c + grad.h", "grad.c - grad.h"),
        ("rnn.h", "Element<T>(1) - y * y", "Element<T>(1) - y"),
    )
]

SYNCHRONISATION = re.compile(
    r"\b(__(?:sync|shfl|ballot|any_|all_|match|reduce|threadfence|activemask)\w*|atomic\w*"
    r"|cp_async_\w+|\w*(?:acquire|release|fence|barrier|cluster)\w*)\s*[(<]"
)
GUARD = re.compile(r"\b(if|while) \(")


def mutants_of(file: str, text: str, rules: list[Rule]) -> list[Mutant]:
    found = {
        (span, new): Mutant(rule.name, file, text, span, new, scope)
        for rule in reversed(rules)
        if re.fullmatch(rule.files, file)
        for scope, (span, new) in rule.find(code(text))
    }
    return sorted(found.values(), key=lambda mutant: mutant.span)


def missed(text: str, mutants: list[Mutant]) -> list[str]:
    """The synchronisations and guards that no mutant is about."""
    return [
        f"line {text.count(chr(10), 0, match.start()) + 1}: {match[1]}"
        for pattern in (SYNCHRONISATION, GUARD)
        for match in pattern.finditer(code(text))
        if not any(m.scope[0] <= match.start(1) < m.scope[1] for m in mutants)
    ]


def all_mutants(csrc: Path = CSRC) -> list[Mutant]:
    """Of all files; refuses a synchronisation or a guard that no rule reaches."""
    mutants, refused = [], []
    for path in sorted([*csrc.glob("cuda/*"), *csrc.glob("cells/*")]):
        file, text = str(path.relative_to(csrc)), path.read_text()
        found = mutants_of(file, text, RULES + CELL_BUGS)
        if file.startswith("cuda/"):
            refused += [f"{file}: {place}" for place in missed(text, found)]
        mutants += found
    if refused:
        raise ValueError("no rule of scripts/mutations.py is about these:\n" + "\n".join(refused))
    return mutants
