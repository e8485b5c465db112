"""The constraint solver for hard batches: OR-Tools is loaded when the first one comes, and only here."""

from importlib import import_module
from typing import cast

from vai_app.domain.placement.batches import BatchProblem, BatchSolver, Seating


class LazySolver:
    """Implements the ``BatchSolver`` port; most processes never solve anything and never load a solver."""

    def __init__(self) -> None:
        """Load nothing."""
        self._solver: BatchSolver | None = None

    def solve(self, problem: BatchProblem, *, seconds: float) -> Seating | None:
        """Return the best seating found in time."""
        if self._solver is None:
            self._solver = cast("BatchSolver", import_module("vai_app.solver.cp_sat").CpSatSolver())
        return self._solver.solve(problem, seconds=seconds)
