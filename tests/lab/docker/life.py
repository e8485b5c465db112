"""The life of one machine, through the API that the containers publish: ``python -m tests.lab.docker.life``."""

import os
import sys

from tests.lab.process import wait_until
from vai_app.cli.client import ApiClient
from vai_app.domain.errors import VaiError


def main() -> None:
    """Register a simulated datacenter, create a machine there, delete it, and prove by the lists that it was so."""
    url, world = sys.argv[1:]
    api = ApiClient(url, os.environ["VAI_TOKEN"])
    if not any(each["name"] == "harbour" for each in api.get("/datacenters")["items"]):
        api.post("/datacenters", {"name": "harbour", "kind": "simulated", "endpoint": f"simulated://{world}"})
    wait_until(
        lambda: api.get("/datacenters/harbour")["reachability"] == "reachable", seconds=90, what="harbour answers"
    )
    body = {"name": "boxed", "datacenter": "harbour", "cpus": 2, "memory_mib": 512, "disk_gib": 4, "image": "debian-12"}
    machine_id = _succeed(api, api.post("/virtual-machines", body)["id"])
    machine = api.get(f"/virtual-machines/{machine_id}")
    print(f"created {machine['name']} in harbour: {machine['state']}, power {machine['observed']['power']}")
    assert (machine["state"], machine["observed"]["power"]) == ("active", "on"), machine
    _succeed(api, api.delete(f"/virtual-machines/{machine_id}")["id"])
    left = [each["name"] for each in api.items("/virtual-machines", datacenter="harbour")]
    print(f"deleted it; machines left in harbour: {left}")
    assert left == []


def _succeed(api: ApiClient, operation_id: str) -> str:
    *_, ended = api.follow(operation_id)
    assert ended["state"] == "succeeded", ended
    return str(ended["machine_id"])


if __name__ == "__main__":
    try:
        main()
    except VaiError as error:
        sys.exit(f"{error.title}. {error.detail}")
