"""What was asked of a server, spelled by the reference of a task: any process can read it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from vai_app.domain.hypervisor import NativeTask

# Nova's clock and ours may differ by this much.
_SKEW = timedelta(minutes=5)
# While Nova moves a new server from its queue to a cell it knows it in neither for a moment.
_UNSEEN = timedelta(seconds=30)


class Verb(StrEnum):
    """What was asked; each has its own end."""

    CREATE = "create"
    DELETE = "delete"
    POWER = "power"
    RESIZE = "resize"
    MIGRATE = "migrate"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"
    EXTEND = "extend"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Asked:
    """A task as its reference spells it.

    ``wanted`` is a status, a flavor's name, a host, a token, an image, or a volume with its GiB.
    """

    verb: Verb
    server: str
    at: datetime
    wanted: str

    @property
    def earliest(self) -> datetime:
        """When it was asked, by the slowest clock that Nova may have."""
        return self.at - _SKEW

    @property
    def may_be_unseen(self) -> bool:
        """Whether Nova may deny a server that it has accepted."""
        return self.verb is Verb.CREATE and datetime.now(UTC) - self.at < _UNSEEN

    def task(self) -> NativeTask:
        """Return what the driver hands out."""
        ref = "|".join((self.verb, self.server, str(int(self.at.timestamp())), self.wanted))
        return NativeTask(ref, machine_ref=self.server, brief=self.verb is Verb.MARK)


def ask(verb: Verb, server: str, wanted: str = "") -> NativeTask:
    """Return the task that was just asked for."""
    return Asked(verb, server, datetime.now(UTC), wanted).task()


def read_ref(ref: str) -> Asked | None:
    """Return what a reference spells, ``None`` for one that is none of ours."""
    verb, _, rest = ref.partition("|")
    server, _, rest = rest.partition("|")
    seconds, _, wanted = rest.partition("|")
    if verb not in set(Verb) or not seconds.isdigit():
        return None
    return Asked(Verb(verb), server, datetime.fromtimestamp(int(seconds), UTC), wanted)
