"""Gunicorn's configuration, from the settings."""

import resource

from vai_app.settings import settings

_settings = settings()
_FILES_FOR_OTHERS = 256
# As many connections as the system lets a process have; most systems ask for it to be said.
_, _files = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_files, _files))

bind = f"{_settings.api_host}:{_settings.api_port}"
workers = _settings.api_processes
worker_class = "vai_app.api.worker.FairWorker"
worker_connections = min(4000, _files - _FILES_FOR_OTHERS)
threads = _settings.api_threads
timeout = 60
keepalive = 15
graceful_timeout = 20
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
preload_app = False
control_socket_disable = True
