"""Several projects of one cloud as one datacenter: each tenant's machines are in the project that is mapped to it."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import chain

from vai_app.domain.datacenters import About, Connection, Image, Inventory, Network
from vai_app.domain.errors import NotFound, ProviderForbidden
from vai_app.domain.hypervisor import Capability, CreateRequest, Hypervisor, NativeTask, TaskObservation
from vai_app.domain.snapshots import SnapshotObservation
from vai_app.domain.statistics import Metric, Reading
from vai_app.domain.virtual_machines import MachineObservation, Mark, PowerAction, Size
from vai_app.drivers.openstack.asked import read_ref
from vai_app.drivers.openstack.options import parse_options, password_credentials

_MOST_REMEMBERED = 100_000


class ProjectsHypervisor(Hypervisor):
    """A hypervisor for each project. Tenants that are not mapped share the one of the credentials, which is the first.

    A server says by its id alone nothing of its project: the one that shows it has it.
    """

    def __init__(self, connection: Connection, enter: Callable[[Connection], Hypervisor]) -> None:
        """Check the settings; call nobody. ``enter`` returns the hypervisor of one project."""
        own = password_credentials(connection.credentials)
        mapped = parse_options(connection.options).projects
        names = dict.fromkeys((own["project"], *mapped.values()))
        entered = {
            name: enter(replace(connection, credentials={**connection.credentials, "project": name})) for name in names
        }
        self._projects = list(entered.values())
        self._of_tenant = {tenant: entered[name] for tenant, name in mapped.items()}
        self._homes: dict[str, Hypervisor] = {}
        self.capabilities = self._projects[0].capabilities

    def verify(self) -> About:
        """Enter every project."""
        seen = [each.verify() for each in self._projects]
        return replace(seen[0], account="; ".join(dict.fromkeys(each.account for each in seen)))

    def observe_capabilities(self) -> frozenset[Capability]:
        """Return what the account may do in every project."""
        return frozenset.intersection(*(each.observe_capabilities() for each in self._projects))

    def close(self) -> None:
        """Close every session."""
        for each in self._projects:
            each.close()

    def request_create(self, request: CreateRequest) -> NativeTask:
        """Make the machine in its tenant's project."""
        project = self._of_tenant.get(request.tenant or "", self._projects[0])
        task = project.request_create(request)
        if task.machine_ref is not None:
            self._remember(task.machine_ref, project)
        return task

    def find_by_token(self, token: str) -> MachineObservation | None:
        """Look in one project after the other."""
        return next((seen for each in self._projects if (seen := each.find_by_token(token)) is not None), None)

    def request_delete(self, ref: str) -> NativeTask | None:
        """Ask the project that has it."""
        return self._home_of(ref).request_delete(ref)

    def request_power(self, ref: str, action: PowerAction) -> NativeTask | None:
        """Ask the project that has it."""
        return self._home_of(ref).request_power(ref, action)

    def request_resize(self, ref: str, size: Size) -> NativeTask | None:
        """Ask the project that has it."""
        return self._home_of(ref).request_resize(ref, size)

    def request_migrate(self, ref: str, host: str) -> NativeTask | None:
        """Ask the project that has it."""
        return self._home_of(ref).request_migrate(ref, host)

    def request_evacuate(self, ref: str, host: str) -> NativeTask | None:
        """Ask the project that has it."""
        return self._home_of(ref).request_evacuate(ref, host)

    def request_snapshot(self, ref: str, name: str, mark: Mark) -> NativeTask:
        """Ask the project that has it."""
        return self._home_of(ref).request_snapshot(ref, name, mark)

    def list_snapshots(self, ref: str) -> list[SnapshotObservation]:
        """Ask every project: nobody shows the home of a machine that is gone. An administrator sees all in each."""
        found = {each.ref: each for project in self._projects for each in project.list_snapshots(ref)}
        return sorted(found.values(), key=lambda each: each.taken_at)

    def request_restore(self, ref: str, snapshot_ref: str) -> NativeTask:
        """Ask the project that has it."""
        return self._home_of(ref).request_restore(ref, snapshot_ref)

    def request_delete_snapshot(self, ref: str, snapshot_ref: str) -> NativeTask | None:
        """Ask every project: those that do not have it have nothing to delete."""
        for project in self._projects:
            project.request_delete_snapshot(ref, snapshot_ref)
        return None

    def observe_statistics(self, refs: Collection[str], metrics: Collection[Metric]) -> list[Reading]:
        """Ask each machine's project."""
        return list(chain.from_iterable(self._home_of(ref).observe_statistics([ref], metrics) for ref in refs))

    def request_mark(self, ref: str, mark: Mark) -> NativeTask | None:
        """Ask the project that has it."""
        return self._home_of(ref).request_mark(ref, mark)

    def observe_machine(self, ref: str) -> MachineObservation:
        """Ask the project that has it."""
        return self._home_of(ref).observe_machine(ref)

    def list_machines(self) -> Iterator[MachineObservation]:
        """List one project after the other."""
        for project in self._projects:
            for seen in project.list_machines():
                self._remember(seen.ref, project)
                yield seen

    def wait_tasks(self, refs: Collection[str], timeout_seconds: float) -> list[TaskObservation]:
        """Look in each project at the tasks of its servers, each with its share of the timeout, until one has ended."""
        of_project: dict[int, list[str]] = {}
        for ref in refs:
            asked = read_ref(ref)
            home = self._home_of(asked.server) if asked is not None else self._projects[0]
            of_project.setdefault(self._projects.index(home), []).append(ref)
        patience = timeout_seconds / max(1, len(of_project))
        ended = (self._projects[number].wait_tasks(its, patience) for number, its in sorted(of_project.items()))
        if timeout_seconds <= 0:
            return list(chain.from_iterable(ended))
        return next((found for found in ended if found), [])

    def observe_inventory(self) -> Inventory:
        """Return what any project has. Each has a quota of its own, so that there is no common one."""
        seen = [each.observe_inventory() for each in self._projects]
        networks: dict[str, Network] = {each.ref: each for inventory in seen for each in inventory.networks}
        images: dict[str, Image] = {each.ref: each for inventory in seen for each in inventory.images}
        return replace(seen[0], networks=tuple(networks.values()), images=tuple(images.values()), quota=None)

    def _home_of(self, ref: str) -> Hypervisor:
        """Return the project that shows the server; the first for one that none shows."""
        known = self._homes.get(ref)
        if known is not None:
            return known
        for project in self._projects:
            try:
                project.observe_machine(ref)
            except (NotFound, ProviderForbidden):  # Nova forbids to see what another project has
                continue
            self._remember(ref, project)
            return project
        return self._projects[0]

    def _remember(self, ref: str, project: Hypervisor) -> None:
        if len(self._homes) >= _MOST_REMEMBERED:
            self._homes.clear()
        self._homes[ref] = project
