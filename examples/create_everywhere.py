"""Create a machine in each registered datacenter, whatever its hypervisor, by the same call; print the same of all.

    VAI_URL=http://127.0.0.1:8080 VAI_TOKEN=... python examples/create_everywhere.py [NAME]

It needs nothing of VAI but its REST API: a program in any language would make the same requests.
"""

import os
import secrets
import sys
import time
from typing import Any

import httpx

FIELDS = ("datacenter", "kind", "name", "state", "power", "cpus", "memory_mib", "networks", "id")
_OPEN = ("pending", "running", "undoing")
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 600.0


def main() -> int:
    """Return 0 when a machine runs in every datacenter."""
    url = os.environ.get("VAI_URL", "http://127.0.0.1:8080")
    name = sys.argv[1] if len(sys.argv) > 1 else f"everywhere-{secrets.token_hex(3)}"
    headers = {"Authorization": f"Bearer {os.environ['VAI_TOKEN']}"}
    with httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60, trust_env=False) as vai:
        datacenters = [each for each in items(vai, "/datacenters") if each["enabled"]]
        asked = [(each, create(vai, each, f"{name}-{each['name']}")) for each in datacenters]
        print("\t".join(FIELDS))
        made = [show(vai, datacenter, operation) for datacenter, operation in asked]
    return 0 if all(made) else 1


def create(vai: httpx.Client, datacenter: dict[str, Any], name: str) -> dict[str, Any]:
    """Ask for a small machine: the same request for every kind of hypervisor. Returns the operation."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while vai.get(f"/datacenters/{datacenter['id']}").raise_for_status().json()["observed_at"] is None:
        if time.monotonic() > deadline:
            sys.exit(f"{datacenter['name']}: VAI has not read what is there")
        time.sleep(_POLL_SECONDS)
    inventory = vai.get(f"/datacenters/{datacenter['id']}/inventory").raise_for_status().json()
    body = {
        "name": name,
        "datacenter": datacenter["id"],
        "cpus": 1,
        "memory_mib": 512,
        "disk_gib": 1,
        "image": next((image["name"] for image in inventory["images"]), None),
        "networks": [network["name"] for network in inventory["networks"][:1]],
    }
    accepted = vai.post("/virtual-machines", json=body, headers={"Idempotency-Key": secrets.token_hex(16)})
    if accepted.is_error:
        sys.exit(f"{datacenter['name']}: {accepted.text}")
    operation: dict[str, Any] = accepted.json()
    return operation


def show(vai: httpx.Client, datacenter: dict[str, Any], operation: dict[str, Any]) -> bool:
    """Wait for the operation's end and print the machine. Returns whether it was made."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while operation["state"] in _OPEN and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        operation = vai.get(f"/operations/{operation['id']}").raise_for_status().json()
    if operation["state"] != "succeeded":
        reason = (operation["problem"] or {}).get("detail", "it has not ended")
        print(f"{datacenter['name']}: {operation['state']}: {reason}", file=sys.stderr)
        return False
    machine = vai.get(f"/virtual-machines/{operation['machine_id']}").raise_for_status().json()
    values = {
        **machine,
        **machine["size"],
        "datacenter": datacenter["name"],
        "kind": datacenter["kind"],
        "power": machine["observed"]["power"],
        "networks": ",".join(machine["networks"]),
    }
    print("\t".join(str(values[field]) for field in FIELDS), flush=True)
    return True


def items(vai: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Return all items of a list, page after page."""
    found, token = [], None
    while True:
        query = {"page_token": token} if token else {}
        page = vai.get(path, params=query).raise_for_status().json()
        found += page["items"]
        token = page.get("next_page_token")
        if token is None:
            return found


if __name__ == "__main__":
    sys.exit(main())
