"""Nova's own FakeDriver, plus what it lacks for a lab.

Guests are kept in a file and outlive a restart of nova-compute, and a snapshot uploads data, so that its image
becomes active.
"""

import io
import json
import threading
from pathlib import Path

import nova.conf
from nova.image import glance
from nova.virt import fake

CONF = nova.conf.CONF


class GuestDriver(fake.FakeDriverWithoutFakeNodes):
    """One hypervisor without guests of flesh: their names, sizes and power."""

    vcpus = 1000
    memory_mb = 800_000
    local_gb = 600_000

    def __init__(self, virtapi, read_only=False):
        """Know where the guests are written down."""
        super().__init__(virtapi, read_only)
        self._images = glance.API()
        self._file = Path(CONF.state_path) / "guests.json"

    def init_host(self, host):
        """Take up the guests that ran here before."""
        super().init_host(host)
        if self._file.exists():
            for uuid, (name, state, *size) in json.loads(self._file.read_text()).items():
                self.instances[uuid] = fake.FakeInstance(name, state, uuid)
                self.instances[uuid].size = tuple(size)
                self.resources.claim(*size)

    def spawn(self, context, instance, *args, **kwargs):
        """Start a guest."""
        super().spawn(context, instance, *args, **kwargs)
        self._size(instance)

    def destroy(self, *args, **kwargs):
        """Remove a guest."""
        super().destroy(*args, **kwargs)
        self._save()

    def power_off(self, *args, **kwargs):
        """Stop a guest."""
        super().power_off(*args, **kwargs)
        self._save()

    def power_on(self, *args, **kwargs):
        """Start a stopped guest."""
        super().power_on(*args, **kwargs)
        self._save()

    def get_host_uptime(self):
        """Return the text of uptime(1), asked for with hypervisors from microversion 2.88 on."""
        days = int(float(Path("/proc/uptime").read_text().split()[0]) // 86400)
        return f" 00:00:00 up {days} days,  0:00,  0 users,  load average: 0.10, 0.10, 0.10"

    def snapshot(self, context, instance, image_id, update_task_state):
        """Upload a small image."""
        super().snapshot(context, instance, image_id, update_task_state)
        facts = {"image_location": "snapshot", "image_state": "available", "owner_id": instance.project_id}
        image = {"status": "active", "disk_format": "raw", "container_format": "bare", "properties": facts}
        content = io.BytesIO(f"snapshot of {instance.uuid}\n".encode() * 64)
        self._images.update(context, image_id, image, content, purge_props=False)

    def post_live_migration(self, context, instance, *_args, **_kwargs):
        """Forget the guest that has left; FakeDriver keeps it."""
        self.destroy(context, instance, network_info=None)

    def finish_revert_migration(self, context, instance, *args, **kwargs):
        """Have the guest again with its former size."""
        super().finish_revert_migration(context, instance, *args, **kwargs)
        self._size(instance)

    def _size(self, instance):
        flavor = instance.flavor
        self.instances[instance.uuid].size = (flavor.vcpus, flavor.memory_mb, flavor.root_gb)
        self._save()

    def _save(self):
        guests = {
            uuid: [guest.name, guest.state, *getattr(guest, "size", (0, 0, 0))]
            for uuid, guest in list(self.instances.items())
        }
        partial = self._file.with_suffix(f".{threading.get_ident()}")
        partial.write_text(json.dumps(guests))
        partial.rename(self._file)
