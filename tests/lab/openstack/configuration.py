"""The configuration files of one cloud's services: pure text from ports and folders."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.lab.openstack.installation import Installation
from tests.lab.ports import free_port

PASSWORD = "secret"
DATABASES = ("keystone", "glance", "placement", "nova_api", "nova", "nova_cell0", "neutron", "cinder")
_POOL = {"max_pool_size": 10, "max_overflow": 40}

Sections = dict[str, dict[str, object]]


@dataclass(frozen=True)
class Ports:
    """Where the services listen on loopback."""

    keystone: int = field(default_factory=free_port)
    glance: int = field(default_factory=free_port)
    placement: int = field(default_factory=free_port)
    nova: int = field(default_factory=free_port)
    neutron: int = field(default_factory=free_port)
    cinder: int = field(default_factory=free_port)

    @property
    def by_name(self) -> dict[str, int]:
        """Ports by the services' names, as a proxy in front of them takes them."""
        return asdict(self)


@dataclass(frozen=True)
class Layout:
    """One cloud's folders, ports and servers."""

    folder: Path
    region: str
    installation: Installation
    database_port: int
    broker_port: int = 0
    ports: Ports = field(default_factory=Ports)

    @property
    def etc(self) -> Path:
        """The configuration files."""
        return self.folder / "etc"

    @property
    def state(self) -> Path:
        """What services keep outside their databases."""
        return self.folder / "state"

    @property
    def keys(self) -> Path:
        """Keystone's keys, which belong to its database."""
        return self.folder / "keys"

    @property
    def auth_url(self) -> str:
        """Where Keystone is."""
        return f"http://127.0.0.1:{self.ports.keystone}/v3"

    @property
    def environment(self) -> dict[str, str]:
        """What the services find their files by."""
        folders = {f"OS_{name.upper()}_CONFIG_DIR": str(self.etc / name) for name in
                   ("keystone", "glance", "placement", "nova", "neutron")}  # fmt: skip
        return {**self.installation.environment, **folders, "OS_NEUTRON_CONFIG_FILES": "neutron.conf",
                "TMPDIR": str(self.folder)}  # fmt: skip

    def database(self, name: str) -> str:
        """Return a database's URL."""
        return f"mysql+pymysql://os:{PASSWORD}@127.0.0.1:{self.database_port}/{name}?charset=utf8"

    @property
    def cinder(self) -> Path:
        """Return the configuration file of Cinder, whose programs find none by themselves."""
        return self.etc / "cinder" / "cinder.conf"

    def compute(self, host: str) -> Path:
        """Return the configuration file of one compute host."""
        return self.etc / "nova" / f"compute-{host}.conf"


def write(layout: Layout, hosts: tuple[str, ...] = ()) -> None:
    """Write the files of every service, and of a nova-compute for each host."""
    for folder in ("glance/images", "glance/staging", "glance/tasks", "nova", "neutron", "cinder", "lock"):
        (layout.state / folder).mkdir(parents=True, exist_ok=True)
    nova = _nova(layout)
    _write(layout.etc / "keystone" / "keystone.conf", _keystone(layout))
    _write(layout.etc / "glance" / "glance-api.conf", _glance(layout))
    _write(layout.etc / "placement" / "placement.conf", _placement(layout))
    _write(layout.etc / "nova" / "nova.conf", nova)
    _write(layout.etc / "neutron" / "neutron.conf", _neutron(layout))
    _write(layout.cinder, _cinder(layout))
    paste = layout.installation.etc("nova", "api-paste.ini")  # Nova reads it from its own folder
    (layout.etc / "nova" / "api-paste.ini").write_bytes(paste.read_bytes())
    for host in hosts:
        own = layout.state / f"nova-{host}"
        own.mkdir(exist_ok=True)
        without_databases = {name: dict(options) for name, options in nova.items() if "database" not in name}
        without_databases["DEFAULT"] |= {"host": host, "state_path": own, "instances_path": own / "instances"}
        _write(layout.compute(host), without_databases)


def _keystone(layout: Layout) -> Sections:
    return _service(layout, "keystone") | {
        "token": {"provider": "fernet", "expiration": 86400},
        "fernet_tokens": {"key_repository": layout.keys / "fernet"},
        "credential": {"key_repository": layout.keys / "credential"},
        "identity": {"password_hash_rounds": 4},
        "cache": {"enabled": "true", "backend": "oslo_cache.dict"},
    }


def _glance(layout: Layout) -> Sections:
    state = layout.state / "glance"
    sections = _service(layout, "glance") | _tokens(layout, "glance")
    sections["DEFAULT"] |= {
        "enabled_backends": "file:file",
        "worker_self_reference_url": f"http://127.0.0.1:{layout.ports.glance}",
    }
    return sections | {
        "glance_store": {"default_backend": "file"},
        "file": {"filesystem_store_datadir": state / "images"},
        "os_glance_staging_store": {"filesystem_store_datadir": state / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": state / "tasks"},
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": layout.installation.etc("glance", "glance-api-paste.ini"),
        },
    }


def _placement(layout: Layout) -> Sections:
    return {
        "DEFAULT": {"use_stderr": "true"},
        "api": {"auth_strategy": "keystone"},
        "placement_database": {"connection": layout.database("placement"), **_POOL},
        "keystone_authtoken": _tokens(layout, "placement")["keystone_authtoken"],
    }


def _nova(layout: Layout) -> Sections:
    state = layout.state / "nova"
    sections = _service(layout, "nova") | _tokens(layout, "nova")
    sections["DEFAULT"] |= {
        "host": "api",
        "my_ip": "127.0.0.1",
        "transport_url": _broker(layout),
        "state_path": state,
        "instances_path": state / "instances",
        "report_interval": 5,
        "service_down_time": 20,
        "rpc_response_timeout": 60,
        "compute_driver": "lab_cloud.GuestDriver",
        "block_device_allocate_retries_interval": 1,
    }
    return sections | {
        "api": {"auth_strategy": "keystone"},
        "api_database": {"connection": layout.database("nova_api"), **_POOL},
        "placement": _identity(layout, "placement"),
        "glance": {"api_servers": f"http://127.0.0.1:{layout.ports.glance}"},
        "neutron": _identity(layout, "neutron"),
        "cinder": {**_identity(layout, "nova"), "catalog_info": "block-storage::internalURL"},
        "vnc": {"enabled": "false"},
        "conductor": {"workers": 1},
        "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 5},
    }


def _neutron(layout: Layout) -> Sections:
    sections = _service(layout, "neutron") | _tokens(layout, "neutron")
    sections["DEFAULT"] |= {
        "core_plugin": "ml2",
        "service_plugins": "router",
        "auth_strategy": "keystone",
        "transport_url": _broker(layout),
        "state_path": layout.state / "neutron",
        "api_paste_config": layout.installation.etc("neutron", "api-paste.ini"),
        "notify_nova_on_port_status_changes": "true",
        "notify_nova_on_port_data_changes": "true",
        "rpc_workers": 0,
        "rpc_state_report_workers": 0,
        "api_workers": 1,
    }
    return sections | {
        "nova": _identity(layout, "nova"),
        "placement": _identity(layout, "placement"),
        "ml2": {
            "type_drivers": "flat,vlan,vxlan",
            "tenant_network_types": "vxlan",
            "mechanism_drivers": "lab_cloud",
            "extension_drivers": "port_security",
        },
        "ml2_type_flat": {"flat_networks": "*"},
        "ml2_type_vlan": {"network_vlan_ranges": "physnet1:100:199"},
        "ml2_type_vxlan": {"vni_ranges": "1:10000"},
    }


def _cinder(layout: Layout) -> Sections:
    sections = _service(layout, "cinder") | _tokens(layout, "cinder")
    sections["DEFAULT"] |= {
        "auth_strategy": "keystone",
        "host": "lab",
        "my_ip": "127.0.0.1",
        "transport_url": _broker(layout),
        "state_path": layout.state / "cinder",
        "api_paste_config": layout.installation.etc("cinder", "api-paste.ini"),
        "resource_query_filters_file": layout.installation.etc("cinder", "resource_filters.json"),
        "glance_api_servers": f"http://127.0.0.1:{layout.ports.glance}",
        "enabled_backends": "lab",
    }
    return sections | {
        "lab": {"volume_driver": "lab_cloud.volumes.VolumeDriver", "volume_backend_name": "lab"},
        "nova": _identity(layout, "nova"),
    }


def _service(layout: Layout, name: str) -> Sections:
    return {
        "DEFAULT": {"use_stderr": "true"},
        "database": {"connection": layout.database(name), **_POOL},
        "oslo_concurrency": {"lock_path": layout.state / "lock"},
        "oslo_messaging_notifications": {"driver": "noop"},
    }


def _tokens(layout: Layout, user: str) -> Sections:
    return {
        "keystone_authtoken": {
            **_identity(layout, user),
            "www_authenticate_uri": layout.auth_url,
            "service_token_roles": "service",
            "service_token_roles_required": "true",
        },
        "service_user": {**_identity(layout, user), "send_service_user_token": "true"},
    }


def _identity(layout: Layout, user: str) -> dict[str, object]:
    return {
        "auth_type": "password",
        "auth_url": layout.auth_url,
        "username": user,
        "password": PASSWORD,
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": layout.region,
        "valid_interfaces": "internal",
    }


def _broker(layout: Layout) -> str:
    return f"rabbit://guest:guest@127.0.0.1:{layout.broker_port}/"


def _write(path: Path, sections: Mapping[str, Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for section, options in sections.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in options.items()), ""]
    path.write_text("\n".join(lines))
