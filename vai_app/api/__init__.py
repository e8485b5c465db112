"""The VAI APIs: REST under ``/api/v1``, described at ``/``, every error an RFC 9457 problem."""

from vai_app.api.app import create_app

__all__ = ["create_app"]
