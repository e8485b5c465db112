"""``python -m bench [NAME ...] [--runs N]``: print a table and write ``bench/results/*.json``."""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

from bench import acceptance, creation, inventory, listing, openstack, placement, protection, statistics
from bench.measurement import Measurement, machine

BENCHES: dict[str, Callable[[int], Iterator[Measurement]]] = {
    "rates": creation.rates,
    "acceptance": acceptance.requests_accepted,
    "listing": listing.page_of_machines,
    "inventory": inventory.bulk_retrieval,
    "statistics": statistics.collection_of_statistics,
    "lag": creation.completion_lag,
    "neighbour": creation.hanging_neighbour,
    "placement": placement.placement,
    "protection": protection.honest_throughput,
    "openstack": openstack.servers_and_calls,
}


def main() -> int:
    """Return 0 when every goal is met."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like by Ctrl-C: servers stop
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="all, when none is named")
    parser.add_argument("--runs", type=int, default=3, help="of each side, in turns")
    arguments = parser.parse_args()
    table = Table(title=machine(), title_justify="left")
    for column in ("measurement", "unit", "ours", "reference", "ratio", "goal", "", "runs", "spread"):
        table.add_column(column, no_wrap=column == "measurement")
    missed = 0
    for name in arguments.names or BENCHES:
        for found in BENCHES[name](arguments.runs):
            found.write()
            missed += not found.met
            print(f"{found.name}: {found.ours:g} against {found.reference:g} {found.unit}", file=sys.stderr, flush=True)
            own, other = (f"{low:g}..{high:g}" for low, high in found.spread.values())
            verdict = "[green]met[/]" if found.met else "[red]missed[/]"
            figures = (f"{found.ours:g}", f"{found.reference:g}", f"{found.ratio:g}", found.goal, verdict)
            table.add_row(found.name, found.unit, *figures, str(found.runs), f"{own} / {other}")
    Console(width=160).print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
