"""Gunicorn's configuration, from the settings."""

from vai_app.settings import settings

_settings = settings()

bind = f"{_settings.api_host}:{_settings.api_port}"
workers = _settings.api_processes
worker_class = "gthread"
threads = _settings.api_threads
timeout = 60
keepalive = 15
graceful_timeout = 20
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
preload_app = False
control_socket_disable = True
