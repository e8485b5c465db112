"""No secret in a log: known ones in every spelling, unknown ones by what stands around them, tracebacks included."""

import io
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from vai_app.settings import Settings
from vai_app.telemetry.scrubbing import SCRUBBED, install, learn, learn_credentials, scrub

SECRET = 'geheim "7"/ä'


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger with a handler of somebody else's making."""
    before = logging.getLogRecordFactory()
    install()
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("tests.scrubbing")
    logger.addHandler(handler)
    yield logger, written
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize("spelled", [SECRET, quote(SECRET, safe=""), json.dumps(SECRET), repr(SECRET)])
def test_a_known_secret_is_scrubbed_however_it_is_written(spelled: str) -> None:
    learn([SECRET])
    assert scrub(f"tried {spelled} and failed") in {
        f"tried {SCRUBBED} and failed", f'tried "{SCRUBBED}" and failed', f"tried '{SCRUBBED}' and failed",
    }  # fmt: skip


def test_of_a_url_that_is_known_the_password_is_scrubbed_and_the_rest_is_left() -> None:
    learn(["mongodb://vai:mongo%2Fsecret@db.example.org:27017/vai"])
    assert scrub("mongo/secret and mongo%2Fsecret at db.example.org") == f"{SCRUBBED} and {SCRUBBED} at db.example.org"


def test_of_credentials_what_is_no_secret_can_be_read() -> None:
    learn_credentials({"username": "administrator", "project": "production", "password": "hunter2-hunter2"})
    assert scrub("administrator of production: hunter2-hunter2") == f"administrator of production: {SCRUBBED}"


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("amqp://vai:s3cr3t@mq:5672//", "amqp://vai:***@mq:5672//"),
        ('{"password": "s3cr\\"3t", "user": "vai"}', '{"password": "***", "user": "vai"}'),
        ("{'X-Auth-Token': 'gAAAAAB-s3cr3t', 'Accept': '*/*'}", "{'X-Auth-Token': '***', 'Accept': '*/*'}"),
        ("<ns0:password>s3cr3t</ns0:password>", "<ns0:password>***</ns0:password>"),
        ("Authorization: Bearer eyJhbGciOi.s3cr3t", "Authorization: Bearer ***"),
        ("token vai_s3cr3ts3cr3ts3cr3ts3cr3t was used", "token vai_*** was used"),
        ("Nothing secret: vai_app.tasks ran 7 times", "Nothing secret: vai_app.tasks ran 7 times"),
    ],
)
def test_what_looks_like_a_secret_is_scrubbed(written: str, left: str) -> None:
    assert scrub(written) == left


def test_messages_their_arguments_and_tracebacks_are_scrubbed(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    learn(["planted-secret"])
    logger.error("login as %s with %r failed", "vai", "planted-secret")
    try:
        int("planted-secret")
    except ValueError:
        logger.exception("it broke")
    assert "planted-secret" not in written.getvalue()
    assert f"login as vai with '{SCRUBBED}' failed" in written.getvalue()
    assert f"with base 10: '{SCRUBBED}'" in written.getvalue()


def test_every_secret_of_the_settings_is_known_as_one() -> None:
    settings = Settings(_env_file=None, token="the-token", secret_key="the-key", broker_url="amqp://u:mq-pass@mq//")
    assert {"the-token", "the-key", "amqp://u:mq-pass@mq//"} <= set(settings.secrets())
