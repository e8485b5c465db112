"""Settings: everything an installation may choose, typed, from ``VAI_*`` variables. No default is a secret.

Empty URLs mean "embedded": ``vai up`` starts the server itself and tells the other processes where it is.
"""

from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from limits import parse
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vai_app.domain.errors import ServiceUnavailable


class Settings(BaseSettings):
    """One field per variable: ``state_folder`` is ``VAI_STATE_FOLDER``, and so on."""

    model_config = SettingsConfigDict(env_prefix="VAI_", extra="ignore")

    state_folder: Path = Field(
        default=Path("~/.local/share/vai").expanduser(),
        description="Where embedded servers, keys, logs and simulated datacenters live.",
    )
    mongodb_url: SecretStr = Field(
        default=SecretStr(""), description="MongoDB replica set; empty starts the embedded one."
    )
    mongodb_database: str = Field(default="vai", description="Name of the database.")
    broker_url: SecretStr = Field(
        default=SecretStr(""),
        description="RabbitMQ (amqp://) or Redis (redis://); empty uses the embedded Valkey.",
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""), description="Redis or Valkey for RedBeat; empty starts the embedded Valkey."
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Fernet key that encrypts credentials at rest; empty reads secret.key in the state folder.",
    )
    secret_key_file: Path | None = Field(
        default=None, description="File with the key, one key a line; empty is secret.key in the state folder."
    )
    api_host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    api_port: int = Field(default=8080, ge=1, le=65535, description="Port that the API listens on.")
    api_threads: int = Field(default=8, ge=1, description="Requests that one API process serves at once.")
    api_processes: int = Field(default=1, ge=1, description="API processes.")
    flower_host: str = Field(
        default="127.0.0.1", description="Address that Flower listens on; its /metrics asks for no password."
    )
    flower_port: int = Field(default=5555, ge=1, le=65535, description="Port that Flower listens on.")
    largest_body_bytes: int = Field(default=256 * 1024, ge=1024, description="Larger request bodies answer 413.")
    rate_per_token: str = Field(
        default="1000/second", description="Requests that one token may send, such as 100/second; more answer 429."
    )
    rate_per_address: str = Field(
        default="2000/second",
        description="The same for one address (IPv6: one /64 network).",
    )
    wrong_tokens_per_address: str = Field(
        default="60/minute",
        description="Wrong tokens an address may try; then only tokens that were right before are looked at.",
    )
    request_seconds: float = Field(
        default=10.0, gt=0, description="A request that has not arrived whole after this long answers 408."
    )
    connections_per_address: int = Field(
        default=512,
        ge=1,
        description="Connections of one address to one API process; more close the oldest idle.",
    )
    trusted_proxies: int = Field(
        default=0,
        ge=0,
        description="Reverse proxies in front of the API whose X-Forwarded-* are believed.",
    )
    worker_threads: int = Field(
        default=40, ge=1, description="Steps that one worker process runs at once; some shares of a datacenter."
    )
    datacenter_share: int = Field(
        default=16, ge=1, description="Calls that one process may have under way at one datacenter."
    )
    lease_seconds: float = Field(
        default=90.0, gt=0, description="How long a worker owns a step; longer than a step's calls may take."
    )
    operation_deadline_seconds: float = Field(
        default=1800.0, gt=0, description="After this long an operation is turned back."
    )
    solver_seconds: float = Field(
        default=5.0, gt=0, le=60, description="How long the constraint solver may think about a batch of machines."
    )
    sweep_seconds: float = Field(default=1.0, gt=0, description="How often lost nudges are published again.")
    lifetime_seconds: float = Field(default=30.0, gt=0, description="How often machines that expire are looked for.")
    statistics_seconds: float = Field(
        default=5.0, gt=0, description="How often datacenters whose statistics are due are looked for."
    )
    inventory_seconds: float = Field(default=30.0, gt=0, description="How often every datacenter is listed completely.")
    event_retention_days: float = Field(default=90.0, gt=0, description="Older events move to the archive.")
    access_clients: str = Field(
        default="embedded",
        description="Who confirms tokens, asked in this order: embedded, jwt, introspection, keystone.",
    )
    access_cache_seconds: float = Field(
        default=10.0, ge=0, le=300, description="How long a confirmed token is not asked about again."
    )
    access_timeout_seconds: float = Field(default=3.0, gt=0, description="Of one call to an access service.")
    access_ca_certificate: str | None = Field(default=None, description="PEM file of the authority that it trusts.")
    oidc_issuer: str = Field(default="", description="Issuer of signed tokens (OpenID Connect discovery).")
    oidc_audience: str = Field(default="", description="For whom a signed token must be made out.")
    oidc_algorithms: str = Field(default="RS256,ES256", description="Accepted signatures; asymmetric ones only.")
    clock_skew_seconds: int = Field(default=30, ge=0, le=300, description="By how much clocks may differ.")
    introspection_url: str = Field(default="", description="Introspection endpoint (RFC 7662).")
    introspection_client_id: str = Field(default="", description="VAI's account at the introspection endpoint.")
    introspection_client_secret: SecretStr = Field(default=SecretStr(""), description="Its secret.")
    keystone_url: str = Field(default="", description="Keystone, such as https://keystone.example.org:5000.")
    claim_name: str = Field(default="sub", description="Claim with the bearer's name; dots lead into objects.")
    claim_tenant: str = Field(default="tenant", description="Claim with the tenant.")
    claim_roles: str = Field(default="roles", description="Claim with the roles: a list, or words.")
    role_map: dict[str, str] = Field(
        default={}, description="JSON: an access service's role to VAI's. A role without entry counts for nothing."
    )
    api_url: str | None = Field(default=None, description="For the vai command: the API, if not at host and port.")
    token: SecretStr = Field(
        default=SecretStr(""), description="For the vai command; empty reads admin.token in the state folder."
    )
    log_level: str = Field(default="INFO", description="Of the processes' own logs.")

    @field_validator("state_folder", "secret_key_file")
    @classmethod
    def _expand_user(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None

    @field_validator("rate_per_token", "rate_per_address", "wrong_tokens_per_address")
    @classmethod
    def _is_a_rate(cls, rate: str) -> str:
        parse(rate)
        return rate

    @property
    def local_api_url(self) -> str:
        """Where this machine finds its own API."""
        return f"http://{at_home(self.api_host)}:{self.api_port}"

    @property
    def secret_key_path(self) -> Path:
        """The file with the keys, where the setting holds none."""
        return self.secret_key_file or self.state_folder / SECRET_KEY_FILE

    def secrets(self) -> list[str]:
        """Return every secret that is set, of URLs the whole."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr) and value]

    def read_secret_key(self) -> str:
        """Return the keys that encrypt credentials, with commas between: the setting's, or those in the file now.

        Raises ServiceUnavailable when there is neither.
        """
        if self.secret_key.get_secret_value():
            return self.secret_key.get_secret_value()
        path = self.secret_key_path
        try:
            return ",".join(path.read_text().replace(",", " ").split())
        except OSError as error:
            message = f"No encryption key: set VAI_SECRET_KEY, or let 'vai up' make {path} ({error.strerror})."
            raise ServiceUnavailable(message) from error


SECRET_KEY_FILE = "secret.key"  # noqa: S105 - the name of a file
RUN_FILE = "run.env"
"""In the state folder while ``vai up`` runs: the embedded servers' URLs, for other commands of the same user."""


def at_home(host: str) -> str:
    """Return the address at which this machine finds its own server that listens at ``host``."""
    return "127.0.0.1" if host == _EVERYWHERE else host


def without_credentials(url: str) -> tuple[str | None, dict[str, str]]:
    """Return a URL without user and password, and the two by these names; ``None`` for no URL."""
    parts = urlsplit(url)
    given = {"username": parts.username, "password": parts.password}
    credentials = {name: unquote(value) for name, value in given.items() if value}
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(bare) or None, credentials


_EVERYWHERE = "0.0.0.0"  # noqa: S104 - it is recognised, not chosen


@cache
def settings() -> Settings:
    """Return the settings of this process, read once: the environment, then what a running ``vai up`` wrote."""
    return Settings(_env_file=Settings().state_folder / RUN_FILE)
