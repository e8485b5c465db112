"""The explanation of a placement as a table: one row a datacenter or host, one column a check."""

from vai_app.cli.client import Json
from vai_app.cli.output import console, print_table


def print_explanation(explanation: Json) -> None:
    """Print every datacenter and host with each check, and what would do instead."""
    verdicts = explanation["datacenters"]
    names = _checks(verdicts)
    rows = []
    for verdict in verdicts:
        rows.append(_row(verdict["name"], "", verdict, names))
        rows.extend(_row("", host["name"], host, names) for host in verdict["hosts"])
        hidden = verdict["hosts_total"] - len(verdict["hosts"])
        if hidden:
            rows.append(("", f"... and {hidden} more hosts", "", *("" for _ in names)))
    print_table("Placement", ("datacenter", "host", "fits", *names), rows)
    hidden = explanation["datacenters_total"] - len(verdicts)
    if hidden:
        console.print(f"... and {hidden} more datacenters")
    _print_conclusion(explanation)


def _print_conclusion(explanation: Json) -> None:
    names = {each["datacenter_id"]: each["name"] for each in explanation["datacenters"]}
    if explanation["chosen"]:
        host = f", host {explanation['chosen_host']}" if explanation["chosen_host"] else ""
        console.print(f"Chosen: {names.get(explanation['chosen'], explanation['chosen'])}{host}")
    elif explanation["alternative"]:
        console.print(f"Fits in: {names.get(explanation['alternative'], explanation['alternative'])}")
    smaller = explanation["smaller"]
    if smaller:
        size = f"{smaller['cpus']} CPUs, {smaller['memory_mib']} MiB, {smaller['disk_gib']} GiB"
        console.print(f"Would fit in {names[explanation['asked']]}: {size}")


def _checks(verdicts: list[Json]) -> list[str]:
    """Return the names of all checks, in the order of their first appearance."""
    found: dict[str, None] = {}
    for verdict in verdicts:
        for judged in (verdict, *verdict["hosts"]):
            found |= dict.fromkeys(check["name"] for check in judged["checks"])
    return list(found)


def _row(datacenter: str, host: str, judged: Json, names: list[str]) -> tuple[str, ...]:
    checks = {check["name"]: check for check in judged["checks"]}
    return (datacenter, host, "yes" if judged["fits"] else "no", *(_cell(checks.get(name)) for name in names))


def _cell(check: Json | None) -> str:
    if check is None:
        return ""
    if check["asked"] is None:
        return "ok" if check["passed"] else check["detail"]
    relation = "of" if check["passed"] else "> "
    return f"{check['asked']} {relation} {check['free']}"
