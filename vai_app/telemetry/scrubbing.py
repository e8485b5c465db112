"""No secret in a log: what this process knows to be one, and what looks like one, is replaced wherever it is written.

Records scrub themselves, so that every handler and formatter of every library is served, tracebacks included.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

SCRUBBED = "***"

_SHORTEST = 6  # a shorter secret would stand in half of all words
_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secret(?:_key)?|client_secret|application_credential_secret|token|api_?key"
    r"|authorization|x-(?:auth|subject)-token|cookie|set-cookie|vmware-api-session-id"
)
_NAMES_A_SECRET = re.compile(r"pass|secret|token|key", re.IGNORECASE)
_PATTERNS = (
    # scheme://user:secret@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+(?=@)", re.IGNORECASE), r"\1" + SCRUBBED),
    # "password": "secret", 'X-Auth-Token': 'secret'
    (re.compile(rf"""(["'](?:{_NAMES})["']\s*:\s*b?)(["'])(?:\\.|(?!\2).)*\2""", re.IGNORECASE), rf"\1\2{SCRUBBED}\2"),
    # <password>secret</password>, with or without a namespace
    (re.compile(r"(<(?:\w+:)?password\b[^>]*>)[^<]*(?=<)", re.IGNORECASE), r"\1" + SCRUBBED),
    # Authorization: Bearer secret
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), r"\1 " + SCRUBBED),
    (re.compile(r"\bvai_[A-Za-z0-9_-]{20,}"), f"vai_{SCRUBBED}"),
)
# Most lines hold nothing that one of the patterns needs, and this says so in a fraction of their time.
_SUSPECT = re.compile(r"""["'<]|://|bearer|basic|vai_""", re.IGNORECASE)

_lock = Lock()
_known: dict[str, None] = {}
_pattern_of_known: re.Pattern[str] | None = None


def learn(secrets: Iterable[str]) -> None:
    """Scrub these from now on, in every spelling in which libraries write them. Of a URL its password is learned."""
    global _pattern_of_known  # noqa: PLW0603 - the logging module's records are the process's too
    with _lock:
        for secret in secrets:
            for spelled in _spellings(secret):
                _known[spelled] = None
        longest_first = sorted(_known, key=len, reverse=True)
        _pattern_of_known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def learn_credentials(credentials: Mapping[str, str]) -> None:
    """Scrub what is secret of a datacenter's credentials: a user's or a project's name is not."""
    learn(value for name, value in credentials.items() if _NAMES_A_SECRET.search(name))


def scrub(text: str) -> str:
    """Return the text without secrets."""
    if _pattern_of_known is not None:
        text = _pattern_of_known.sub(SCRUBBED, text)
    if _SUSPECT.search(text):
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
    return text


class ScrubbedRecord(logging.LogRecord):
    """A record whose message and traceback hold no secret."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if self.exc_info and self.exc_info[0] is not None:
            # What is here already no formatter writes anew.
            self.exc_text = scrub(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """Return the message with its arguments."""
        return scrub(super().getMessage())


def install() -> None:
    """Let every record of this process scrub itself."""
    logging.setLogRecordFactory(ScrubbedRecord)


def _spellings(secret: str) -> set[str]:
    """Return a secret as it is, in a URL, and in JSON."""
    if "://" in secret:
        password = urlsplit(secret).password
        return _spellings(unquote(password)) | _spellings(password) if password else set()
    if len(secret) < _SHORTEST:
        return set()
    return {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
