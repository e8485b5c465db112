"""The processes' own logs: one line an entry, to standard error."""

import logging

from vai_app.telemetry import scrubbing


def configure_logs(level: str) -> None:
    """Set up the root logger; no record holds a secret. Raises ValueError for a level that does not exist."""
    scrubbing.install()
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("pymongo", "urllib3", "amqp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
