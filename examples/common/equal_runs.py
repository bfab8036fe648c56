"""A training on the temperature series, runs that should equal it, and runs that should not."""

import secrets
import tempfile
from pathlib import Path

import torch
from tqdm import tqdm

from common.resumable import NoisyWindows, Run, WorkerInit, new_loader
from common.temperature import Temperature
from fused_rnn.forecast import series
from fused_rnn.forecast.training import Windows

WINDOW, HORIZON = 36, 12
QUICK_WINDOWS = 1280
LABELS = {
    "run": "run",
    "again": "again",
    "two_threads": "on 2 threads",
    "not_deterministic": "without deterministic algorithms",
    "one_worker": "1 worker process for 2",
    "no_seed": "without the seed",
    "resumed": "resumed",
    "without_optimiser": "resumed without the optimiser",
    "without_schedule": "resumed without the schedule",
    "without_python": "resumed without Python's generator",
    "without_numpy": "resumed without NumPy's generator",
    "without_torch": "resumed without PyTorch's generator",
    "without_loader": "resumed without the loader's generator",
    "without_position": "resumed without the position",
}
LEFT_OUT = [name.removeprefix("without_") for name in LABELS if name.startswith("without_")]


class Weather(Temperature):
    """The series as noisy windows to learn from and as clean ones to judge by."""

    def __init__(self, quick: bool) -> None:
        super().__init__(WINDOW, HORIZON)
        self.windows = Windows(self.values, WINDOW, HORIZON)
        targets = self.train[: QUICK_WINDOWS if quick else None]
        self.noisy = NoisyWindows(self.windows, targets)

    def error(self, run: Run) -> float:
        """Mean absolute error in °C on the test part."""
        windows, _ = self.windows.batch(self.test)
        run.model.eval()
        with torch.inference_mode():
            forecasts = self.scale.restore(run.model(windows).numpy())
        run.model.train()
        return series.errors(forecasts, self.celsius[self.parts.test]).mae

    def naive(self) -> float:
        """The error of the last value."""
        test = self.parts.test
        return series.errors(series.naive(self.celsius, test, HORIZON), self.celsius[test]).mae


def run_all(weather: Weather, seed: int, steps: int, stop: int) -> dict[str, Run]:
    """The run, what should equal it, and what should not; "resumed" ones go on at step `stop`."""
    bar = tqdm(total=len(LABELS), unit="run", disable=None)

    def trained(run: Run) -> Run:
        run.train(steps)
        bar.update()
        return run

    def resumed(*left_out: str) -> Run:
        run = Run(weather.noisy, seed, steps)
        state = torch.load(checkpoint)
        run.load_state_dict({name: state[name] for name in state if name not in left_out})
        return trained(run)

    runs = {"run": trained(Run(weather.noisy, seed, steps))}
    runs["again"] = trained(Run(weather.noisy, seed, steps))
    torch.set_num_threads(2)
    runs["two_threads"] = trained(Run(weather.noisy, seed, steps))
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    runs["not_deterministic"] = trained(Run(weather.noisy, seed, steps))
    torch.use_deterministic_algorithms(True)
    runs["one_worker"] = trained(Run(weather.noisy, seed, steps, workers=1))
    runs["no_seed"] = trained(Run(weather.noisy, secrets.randbits(32), steps))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        first_part = Run(weather.noisy, seed, steps)
        first_part.train(stop)
        torch.save(first_part.state_dict(), checkpoint)
        runs["resumed"] = resumed()
        runs |= {f"without_{part}": resumed(part) for part in LEFT_OUT}
    bar.close()
    return runs


def distinct_noise(weather: Weather, seed_worker: WorkerInit | None) -> float:
    """The share of different draws among the noise of two epochs."""
    silent = Windows(torch.zeros_like(weather.windows.values), WINDOW, HORIZON)
    data = NoisyWindows(silent, weather.noisy.targets[:512])
    loader = new_loader(data, torch.Generator().manual_seed(0), worker_init_fn=seed_worker)
    noise = torch.cat([windows for _ in range(2) for windows, _ in loader])
    return len(noise.unique(dim=0)) / len(noise)
