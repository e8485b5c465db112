"""The watcher process: ``python -m vai_app.watcher``."""

import signal
from threading import Event

from vai_app.bootstrap import build_services
from vai_app.settings import settings
from vai_app.telemetry.logs import configure_logs


def main() -> None:
    """Watch every datacenter until SIGTERM or SIGINT."""
    configure_logs(settings().log_level)
    services = build_services(settings())
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        services.watcher.run(stop)
    finally:
        services.close()


if __name__ == "__main__":
    main()
