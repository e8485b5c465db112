"""``python -m lab_cloud.serve MODULE PORT THREADS [ARGUMENT ...]``: serve one OpenStack WSGI application."""

import importlib
import logging
import sys

import waitress


def main():
    """Serve until ended."""
    module, port, threads, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]  # the applications read it as their own command line
    application = importlib.import_module(module).application
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    waitress.serve(
        application, host="127.0.0.1", port=int(port), threads=int(threads), channel_timeout=300, connection_limit=500
    )


if __name__ == "__main__":
    main()
