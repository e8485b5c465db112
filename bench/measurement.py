"""One measurement: ours and the reference in turns, their medians, their spread, and the goal."""

import json
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Measurement:
    """``ours`` and ``reference`` are medians over the runs; ``spread`` is each side's lowest and highest figure."""

    name: str
    unit: str
    ours: float
    reference: float
    ratio: float
    goal: str
    runs: int
    spread: dict[str, list[float]]
    machine: str
    sizes: str

    @property
    def met(self) -> bool:
        """Whether the goal holds: for the ratio, or for our own figure where the goal names a unit."""
        relation, bound, *unit = self.goal.split()
        value = self.ours if unit else self.ratio
        return value >= float(bound) if relation == ">=" else value <= float(bound)

    def write(self) -> None:
        """Write one JSON file for programs."""
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=2) + "\n")


def in_turns(runs: int, ours: Callable[[], float], reference: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Return the figures of both sides, measured alternately."""
    figures: tuple[list[float], list[float]] = ([], [])
    for run in range(runs):
        sides = [(figures[0], ours), (figures[1], reference)]
        for found, side in sides if run % 2 == 0 else reversed(sides):
            found.append(side())
    return figures


def measurement(
    name: str, unit: str, ours: Sequence[float], reference: Sequence[float], *, goal: str, sizes: str
) -> Measurement:
    """Return the medians, their ratio and the spread."""
    own, other = statistics.median(ours), statistics.median(reference)
    return Measurement(
        name=name,
        unit=unit,
        ours=round(own, 5),
        reference=round(other, 5),
        ratio=round(own / other, 3),
        goal=goal,
        runs=len(ours),
        spread={
            "ours": [round(min(ours), 5), round(max(ours), 5)],
            "reference": [round(min(reference), 5), round(max(reference), 5)],
        },
        machine=machine(),
        sizes=sizes,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def machine() -> str:
    """Return what the figures were measured on."""
    info = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return f"{len(models)} x {models[0] if models else platform.machine()}, Python {platform.python_version()}"
