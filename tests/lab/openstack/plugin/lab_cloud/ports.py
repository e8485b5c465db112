"""A Neutron mechanism driver that binds every port on every host, as if an agent had wired it at once."""

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api


class MechanismDriver(api.MechanismDriver):
    """Ports come up ACTIVE as they are bound, so that Neutron tells Nova that the interface is plugged."""

    def initialize(self):
        """Say what a bound port offers."""
        self.vif_details = {
            portbindings.CAP_PORT_FILTER: True,
            portbindings.OVS_HYBRID_PLUG: False,
            portbindings.VIF_DETAILS_CONNECTIVITY: portbindings.CONNECTIVITY_L2,
        }

    @property
    def connectivity(self):
        """Ports are joined at layer 2."""
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context):
        """Bind to the first segment offered."""
        for segment in context.segments_to_bind:
            context.set_binding(
                segment[api.ID], portbindings.VIF_TYPE_OVS, self.vif_details, status=constants.PORT_STATUS_ACTIVE
            )
            return

    def update_port_postcommit(self, context):
        """Report a port up whose binding moved: after a live migration it waits for an agent to say so."""
        down = context.current["status"] == constants.PORT_STATUS_DOWN
        if context.host and context.vif_type == portbindings.VIF_TYPE_OVS and down:
            directory.get_plugin().update_port_status(
                context._plugin_context, context.current["id"], constants.PORT_STATUS_ACTIVE, context.host
            )
