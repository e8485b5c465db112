"""The application for a WSGI server, built when a worker process imports it, after the fork."""

import gc

from vai_app.api.app import create_app
from vai_app.bootstrap import build_services
from vai_app.settings import settings
from vai_app.telemetry.logs import configure_logs

configure_logs(settings().log_level)
services = build_services(settings())
app = create_app(services)
# What is loaded now stays: the collector need not look at it again and again.
gc.collect()
gc.freeze()
# A page of a hundred machines is thousands of objects without a cycle: it is not to be searched for some five times.
gc.set_threshold(20_000, 20, 50)
