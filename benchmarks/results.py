"""Results as data: rows, where and with what they were measured, JSON, geometric means."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from fused_rnn import _C
from fused_rnn.environment import cpu_model

from .grid import Point

FORMAT = 2  # of the JSON file
OURS = "fused_rnn"
TORCH = "torch"
FEW_SEQUENCES = 3  # kFewSequences of csrc/cpu/regime-inl.h
BEST = "best peer"  # whichever is the fastest at a point


@dataclass(frozen=True)
class Row:
    """One point's result.

    Attributes:
        seconds: a call, by contestant: the median of the fastest half of the samples.
        rounds: samples taken of each contestant.
        difference: of each contestant's results from torch's (`problem.difference`).
        peak: GF/s that one thread's multiply-adds reached in turn with them; None on a device.
    """

    point: Point
    seconds: dict[str, float]
    rounds: int
    difference: dict[str, float]
    peak: float | None

    def ratio(self, peer: str = TORCH) -> float:
        """The peer's time over ours: above 1, ours is faster. NaN where one is missing."""
        name = self.best_peer if peer == BEST else peer
        return self.seconds.get(name, math.nan) / self.seconds.get(OURS, math.nan)

    @property
    def contested(self) -> bool:
        """Whether others than torch took part."""
        return len(self.seconds) > 2

    @property
    def best_peer(self) -> str:
        """The fastest other contestant."""
        return min((name for name in self.seconds if name != OURS), key=self.seconds.__getitem__)

    def gflops(self, name: str) -> float:
        return self.point.flops / self.seconds[name] / 1e9

    def share_of_peak(self, threads: int) -> float:
        """Our GF/s over what so many threads could reach; NaN where that is not known."""
        return self.gflops(OURS) / (threads * self.peak) if self.peak else math.nan

    def limit(self, threads: int, peer: str = TORCH) -> float:
        """`ratio` if ours took its multiply-adds at the peak and nothing else.

        NaN where the peak is not known. Few sequences stay as they are, since caches bound them.
        """
        if self.peak and self.point.batch <= FEW_SEQUENCES:
            return self.ratio(peer)
        return self.ratio(peer) / self.share_of_peak(threads)


@dataclass(frozen=True)
class Report:
    """A run of the grid."""

    environment: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    @property
    def contestants(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row.seconds))

    def of(self, kind: str, cell: str) -> list[Row]:
        return [row for row in self.rows if (row.point.kind, row.point.cell) == (kind, cell)]

    def write(self, path: Path) -> None:
        rows = [
            asdict(row) | {"id": row.point.id, "gflop": row.point.flops / 1e9} for row in self.rows
        ]
        document = {"format": FORMAT, "environment": self.environment, "rows": rows}
        path.write_text(json.dumps(document, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        """Raises ValueError where the file is no report of this format."""
        try:
            document = json.loads(path.read_text())
            if document["format"] != FORMAT:
                raise ValueError(f"{path}: format {document['format']}, expected {FORMAT}")
            names = ("seconds", "rounds", "difference", "peak")
            rows = [
                Row(Point(**row["point"]), **{name: row[name] for name in names})
                for row in document["rows"]
            ]
            return cls(document["environment"], rows)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path}: not a benchmark report ({error!r})") from None


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs)) if logs else float("nan")


def means(
    rows: Iterable[Row], ratio: Callable[[Row], float]
) -> dict[tuple[str, str], tuple[float, float, int]]:
    """By (kind, cell): geometric mean of a row's ratio, the smallest of them, and their number.

    The long packed points are left out: they would swamp the others.
    """
    ratios: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if not row.point.long:
            ratios.setdefault((row.point.kind, row.point.cell), []).append(ratio(row))
    return {
        place: (geometric_mean(values), min(values), len(values))
        for place, values in ratios.items()
    }


def environment(
    peers: Iterable[str], seconds: float, device: str = "cpu", *, prepacked: bool = False
) -> dict[str, Any]:
    """Date, machine, versions and settings of a run that starts now."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "isa": _C.cpu_isa(),
        "torch_isa": torch.backends.cpu.get_cpu_capability().lower(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "seconds": seconds,
        "prepacked": prepacked,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{name: metadata.version(name) for name in ("fused_rnn", *peers)},
        },
    }


def caption(environment: dict[str, Any]) -> str:
    """The environment in one line."""
    versions = environment["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
    threads = environment["threads"]
    processor = (
        f"{environment['cpu']} ({environment['isa']}), {threads} thread{'s' if threads > 1 else ''}"
    )
    where = environment.get("gpu") or processor
    prepacked = ", weights prepacked" if environment.get("prepacked") else ""
    dtype = environment.get("dtype", "float32")
    return f"{environment['date'].split()[0]}, {where}, {dtype}, {named}{prepacked}"
