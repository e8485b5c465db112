"""What a new installation comes with: roles and policies."""

from collections.abc import Mapping

from vai_app.domain.policies import ADMIN, Limits, Policy, Role

_OF_MEMBERS = (
    "virtual-machines:read",
    "virtual-machines:create",
    "virtual-machines:delete",
    "virtual-machines:power",
    "virtual-machines:renew",
    "snapshots:*",
    "operations:read",
    "operations:cancel",
    "operations:confirm",
    "events:read",
    "consumption:read",
    "datacenters:read",
    "policies:read",
    "policies:evaluate",
    "roles:read",
)

DEFAULT_ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role(ADMIN, ("*:*",), "Steers the installation and sees every tenant."),
        Role(
            "operator",
            ("*:read", "virtual-machines:*", "snapshots:*", "operations:*", "datacenters:*", "policies:evaluate"),
            "Runs datacenters, and machines of the own tenant.",
        ),
        Role("developer", (*_OF_MEMBERS, "virtual-machines:resize"), "Makes and removes machines of the tenant."),
        Role("tester", _OF_MEMBERS, "Makes and removes small machines of the tenant."),
        Role(
            "viewer",
            (
                "virtual-machines:read",
                "snapshots:read",
                "operations:read",
                "events:read",
                "consumption:read",
                "datacenters:read",
                "policies:evaluate",
            ),
            "Looks, and changes nothing.",
        ),
    )
}
"""The roles of a new installation. A site may change all of them but ``admin``, and add others."""

DEFAULT_POLICIES: Mapping[str, Policy] = {
    "small-machines-for-testers": Policy(
        "small-machines-for-testers",
        Limits(machine_cpus=4, machine_memory_mib=8192, machine_disk_gib=100),
        roles=("tester",),
        description="What a test needs; a site may change or delete it.",
    )
}
"""The policies of a new installation."""
