"""The ``vai`` command: runs an installation, and talks to one."""
