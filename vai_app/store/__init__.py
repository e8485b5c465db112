"""The store: everything that VAI remembers, in MongoDB, behind the repositories of ``domain/ports``."""

from vai_app.store.store import Store, open_store

__all__ = ["Store", "open_store"]
