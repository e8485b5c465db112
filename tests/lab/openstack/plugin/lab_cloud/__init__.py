"""What the lab's clouds add to OpenStack's own code: guests without a hypervisor, ports without an agent."""
