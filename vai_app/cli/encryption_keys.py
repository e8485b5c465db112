"""``vai secrets``: the key that encrypts the credentials of datacenters and the user data of machines to come."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from vai_app.bootstrap import Services, build_services
from vai_app.cli.context import explained
from vai_app.cli.output import console
from vai_app.domain.errors import Conflict, InvalidRequest
from vai_app.settings import settings
from vai_app.store.key_file import KeyFile

app = typer.Typer(
    help="The key that encrypts the credentials of datacenters and the user data of machines to come.",
    no_args_is_help=True,
)


@app.callback()
def secrets() -> None:
    """Keep ``rotate`` a command of its own."""


@app.command()
def rotate() -> None:
    """Encrypt all credentials with a new key and forget the old one. VAI may run; interrupted, run it again."""
    with explained():
        configured = settings()
        services = build_services(configured)
        try:
            if configured.secret_key.get_secret_value():
                sealed = _with_keys_of_the_environment(configured.secret_key.get_secret_value(), services)
                console.print(
                    f"{sealed} datacenters and machines to come. Set VAI_SECRET_KEY to the first key alone now."
                )
                return
            with _alone(configured.secret_key_path):
                sealed = rotate_file(KeyFile(configured.secret_key_path), services)
            console.print(
                f"{sealed} datacenters and machines to come are encrypted with the new key; the old one is forgotten."
            )
        finally:
            services.close()


def rotate_file(file: KeyFile, services: Services) -> int:
    """New key first; seal all anew; forget the old key. At each moment every process can open everything.

    Returns how many datacenters and machines to come were sealed anew. Raises ServiceUnavailable, with both keys kept.
    """
    file.begin_rotation()
    sealed = _seal_all(services)
    file.end_rotation()
    return sealed


def _with_keys_of_the_environment(keys: str, services: Services) -> int:
    if "," not in keys:
        raise InvalidRequest(
            "VAI_SECRET_KEY holds the key, and only you can change it. Set it to 'NEW,OLD' for every process (a new "
            "key: head -c 32 /dev/urandom | base64 | tr '+/' '-_'), restart them, and run this again."
        )
    return _seal_all(services)


def _seal_all(services: Services) -> int:
    """Seal until nothing is left that another key sealed: others may add to it meanwhile."""
    sealed = 0
    while found := services.store.datacenters.seal_all_anew() + services.store.user_data.seal_all_anew():
        sealed += found
    return sealed


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict("Another 'vai secrets rotate' is running.") from error
        yield
