"""What a simulated datacenter is made of when its world file is first opened."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vai_app.domain.errors import InvalidRequest


class Options(BaseModel):
    """Options of a datacenter of the kind ``simulated``; sizes count only when the world is made."""

    model_config = ConfigDict(extra="forbid")

    clusters: int = Field(default=1, ge=1, le=100)
    hosts_per_cluster: int = Field(default=4, ge=1, le=1000)
    host_cpus: int = Field(default=32, ge=1, le=1_000_000)
    host_memory_mib: int = Field(default=262_144, ge=256, le=1_000_000_000)
    datastores: int = Field(default=2, ge=1, le=100)
    datastore_gib: int = Field(default=10_000, ge=1, le=1_000_000_000)
    networks: list[str] = Field(default=["default", "backend"])
    images: list[str] = Field(default=["debian-12", "ubuntu-24.04", "cirros"])
    machines: int = Field(default=0, ge=0, le=100_000, description="Strangers' machines that exist from the start.")
    task_delay_seconds: float = Field(default=0.5, ge=0, le=600)
    username: str | None = None
    password: str | None = None


def parse_options(options: dict[str, Any]) -> Options:
    """Raise InvalidRequest naming each wrong option."""
    try:
        return Options.model_validate(options)
    except ValidationError as error:
        errors = [
            {"field": "options." + ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()
        ]
        raise InvalidRequest("The options of the simulated datacenter are not valid.", errors) from error


def world_path(endpoint: str) -> Path:
    """Return the file of ``simulated:///path/to/world.db``. Raises InvalidRequest."""
    parts = urlsplit(endpoint)
    if parts.scheme != "simulated" or parts.netloc or not parts.path.startswith("/") or parts.path.endswith("/"):
        message = f"{endpoint!r} is no endpoint of a simulated datacenter. Use simulated:///path/to/world.db."
        raise InvalidRequest(message, [{"field": "endpoint", "message": message}])
    return Path(parts.path)
