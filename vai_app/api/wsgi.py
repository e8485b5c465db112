"""The application for a WSGI server, built when a worker process imports it, after the fork."""

from vai_app.api.app import create_app
from vai_app.bootstrap import build_services
from vai_app.memory import keep_what_is_loaded
from vai_app.settings import settings
from vai_app.telemetry.logs import configure_logs

configure_logs(settings().log_level)
services = build_services(settings())
app = create_app(services)
keep_what_is_loaded()
