"""The processes' own logs: one line an entry, to standard error."""

import logging


def configure_logs(level: str) -> None:
    """Set up the root logger. Raises ValueError for a level that does not exist."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("pymongo", "urllib3", "amqp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
