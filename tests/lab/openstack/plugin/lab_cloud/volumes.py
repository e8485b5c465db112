"""A storage backend for Cinder, of volumes that hold nothing: their life is real, their bytes are not."""

# ruff: noqa: ARG002 - the names are those that Cinder calls with

from cinder.volume import driver


class VolumeDriver(driver.VolumeDriver):
    """One pool with room for everything a lab makes."""

    VERSION = "1"

    def check_for_setup_error(self):
        """Nothing is to be set up."""

    def get_volume_stats(self, refresh=False):
        """Tell the scheduler of the pool."""
        pool = {"pool_name": "lab", "total_capacity_gb": 600_000, "free_capacity_gb": 600_000, "reserved_percentage": 0}
        facts = {"volume_backend_name": "lab", "vendor_name": "lab", "driver_version": self.VERSION}
        return {**facts, "storage_protocol": "lab", "pools": [pool]}

    def create_volume(self, volume):
        """Make a volume."""

    def clone_image(self, context, volume, image_location, image_meta, image_service):
        """Make a volume of an image; no bytes are to be fetched."""
        return {}, True

    def delete_volume(self, volume):
        """Remove a volume."""

    def extend_volume(self, volume, new_size):
        """Let a volume grow."""

    def ensure_export(self, context, volume):
        """Nothing is exported."""

    def create_export(self, context, volume, connector):
        """Nothing is exported."""

    def remove_export(self, context, volume):
        """Nothing is exported."""

    def initialize_connection(self, volume, connector):
        """Tell a host how to reach the volume; the lab's hosts do not try."""
        return {"driver_volume_type": "iscsi", "data": {"access_mode": "rw"}}

    def terminate_connection(self, volume, connector, **kwargs):
        """Nothing was connected."""
