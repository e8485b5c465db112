"""The demo: two simulated datacenters and a machine in each, made through the API as a user would."""

from vai_app.cli.client import ApiClient, Json
from vai_app.domain.errors import ServiceUnavailable
from vai_app.settings import Settings

DATACENTERS = ("berlin", "paris")


def prepare_demo(api: ApiClient, settings: Settings) -> list[Json]:
    """Register the datacenters and make the machines that are not there yet. Returns the machines."""
    known = {each["name"] for each in api.get("/datacenters")["items"]}
    machines = []
    for name in DATACENTERS:
        if name not in known:
            world = settings.state_folder / "simulated" / f"{name}.db"
            api.post("/datacenters", {"name": name, "kind": "simulated", "endpoint": f"simulated://{world}"})
        machines.append(_machine_in(api, name))
    return machines


def _machine_in(api: ApiClient, datacenter: str) -> Json:
    name = f"demo-{datacenter}"
    found = [each for each in api.items("/virtual-machines", name=name) if each["state"] == "active"]
    if found:
        return found[0]
    body = {
        "name": name,
        "datacenter": datacenter,
        "cpus": 2,
        "memory_mib": 2048,
        "disk_gib": 10,
        "image": "debian-12",
        "networks": ["default"],
    }
    *_, ended = api.follow(api.post("/virtual-machines", body)["id"])
    if ended["state"] != "succeeded":
        detail = ended["problem"]["detail"] if ended["problem"] else "no reason was recorded"
        raise ServiceUnavailable(f"The demo machine {name} was not made: {detail}")
    return api.get(f"/virtual-machines/{ended['machine_id']}")
