"""The collections: the fields that queries and indexes use, and the indexes, declared once.

Repositories work on the documents' collections and not on document objects: a change is one conditional update,
and a page of a hundred machines costs no hundred objects.
"""

from datetime import UTC, datetime
from typing import Any, cast

from mongoengine import (
    BooleanField,
    DateTimeField,
    DictField,
    Document,
    DynamicDocument,
    IntField,
    ObjectIdField,
    StringField,
)
from pymongo.collection import Collection

ONE_OPEN_OPERATION = "one_open_operation_per_target"
# The condition of an index over texts only. By ``{"$type": "string"}`` the index is never used: MongoDB does not see
# that a query for one text asks for texts only, and walks through all documents of the tenant or datacenter.
ANY_TEXT = {"$gt": ""}
ANY_TIME = {"$gt": datetime(1970, 1, 1, tzinfo=UTC)}


def _collection(name: str, *indexes: dict[str, Any]) -> dict[str, Any]:
    """Return a document's ``meta``; its indexes are created by ``ensure_indexes`` and by nothing else."""
    return {"collection": name, "auto_create_index": False, "index_cls": False, "indexes": list(indexes)}


class OperationDocument(DynamicDocument):
    """One change of the world; the fields beyond these are those of ``domain.operations.Operation``."""

    id = StringField(primary_key=True)
    tenant = StringField(required=True)
    kind = StringField(required=True)
    state = StringField(required=True)
    target_id = StringField(required=True)
    datacenter_id = StringField(null=True)
    step = StringField(required=True)  # plan[cursor], so that a claim can ask for it
    open = BooleanField(required=True)
    due_at = DateTimeField(required=True)
    lease_until = DateTimeField(null=True)
    version = IntField(required=True)
    idempotency_key = StringField(null=True)

    meta = _collection(
        "operations",
        # One busy operation per machine.
        {
            "fields": ["target_id"],
            "name": ONE_OPEN_OPERATION,
            "unique": True,
            "partialFilterExpression": {"open": True},
        },
        {
            "fields": ["tenant", "idempotency_key"],
            "name": "one_operation_of_an_idempotency_key",
            "unique": True,
            "partialFilterExpression": {"idempotency_key": ANY_TEXT},
        },
        {"fields": ["due_at"], "name": "due", "partialFilterExpression": {"open": True}},
        {
            "fields": ["datacenter_id"],
            "name": "running_tasks",
            "partialFilterExpression": {"open": True, "native_task.state": "running"},
        },
        {"fields": ["tenant", "-id"]},
        {"fields": ["target_id", "-id"]},
    )


class MachineDocument(DynamicDocument):
    """A machine; the fields beyond these are those of ``domain.virtual_machines.VirtualMachine``."""

    id = StringField(primary_key=True)
    tenant = StringField(null=True)
    name = StringField(required=True)
    name_held = BooleanField()  # while no other machine of the tenant may have the name
    datacenter_id = StringField(required=True)
    provider_ref = StringField(null=True)
    former_ref = StringField(null=True)  # the provider_ref of a machine that has ended
    state = StringField(required=True)
    recorded_at = DateTimeField(required=True)  # of the last record_*: a listing that began before knows less

    meta = _collection(
        "machines",
        {
            "fields": ["tenant", "name"],
            "name": "one_name_per_tenant",
            "unique": True,
            "partialFilterExpression": {"name_held": True},
        },
        {
            "fields": ["datacenter_id", "provider_ref"],
            "name": "one_record_of_a_provider_object",
            "unique": True,
            "partialFilterExpression": {"provider_ref": ANY_TEXT},
        },
        {"fields": ["tenant", "id"]},
        {"fields": ["datacenter_id", "id"]},
        {"fields": ["name", "id"]},
        {
            "fields": ["lifetime.due_at"],
            "name": "lifetimes_due",
            "partialFilterExpression": {"name_held": True, "lifetime.due_at": ANY_TIME},
        },
    )


class DatacenterDocument(DynamicDocument):
    """A datacenter, its last observed inventory, and its credentials, encrypted."""

    id = StringField(primary_key=True)
    name = StringField(required=True, unique=True)
    revision = IntField(required=True)
    sealed_credentials = StringField(required=True)

    meta = _collection("datacenters")


class EventDocument(DynamicDocument):
    """An event of the activity log."""

    id = StringField(primary_key=True)
    at = DateTimeField(required=True)
    tenant = StringField(null=True)

    meta = _collection(
        "events",
        {"fields": ["-at", "-id"]},
        {"fields": ["tenant", "-at", "-id"]},
        {"fields": ["operation_id", "-at", "-id"]},
        {"fields": ["machine_id", "-at", "-id"]},
        {"fields": ["datacenter_id", "-at", "-id"]},
    )


class ArchivedEventDocument(DynamicDocument):
    """An event older than the retention, kept for analysis."""

    id = StringField(primary_key=True)
    at = DateTimeField(required=True)

    meta = _collection("events_archive", {"fields": ["-at", "-id"]})


class UserDataDocument(DynamicDocument):
    """A machine's user data, by the machine's id, encrypted."""

    id = StringField(primary_key=True)
    sealed = StringField(required=True)
    forget_at = DateTimeField(required=True)

    meta = _collection("user_data", {"fields": ["forget_at"], "expireAfterSeconds": 0})


class SnapshotDocument(DynamicDocument):
    """A snapshot that VAI took; the fields beyond these are those of ``domain.snapshots.Snapshot``."""

    id = StringField(primary_key=True)
    tenant = StringField(required=True)
    machine_id = StringField(required=True)

    meta = _collection("snapshots", {"fields": ["machine_id", "id"]})


class SampleDocument(DynamicDocument):
    """What a machine used at one moment; the fields beyond these are those of ``domain.statistics.Sample``."""

    id = StringField(primary_key=True)
    machine_id = StringField(required=True)
    datacenter_id = StringField(required=True)
    at = DateTimeField(required=True)
    forget_at = DateTimeField(required=True)

    meta = _collection(
        "statistics",
        {"fields": ["machine_id", "-at", "-id"]},
        {"fields": ["datacenter_id", "at"]},
        {"fields": ["forget_at"], "expireAfterSeconds": 0},
    )


class TokenDocument(Document):
    """An embedded token, by the digest of its secret."""

    id = StringField(primary_key=True)
    digest = StringField(required=True, unique=True)
    principal = DictField(required=True)
    created_at = DateTimeField(required=True)
    expires_at = DateTimeField(null=True)

    meta = _collection("tokens")


class ConfigurationRevision(DynamicDocument):
    """One revision of a role, policy or tenant; its id is ``kind/name/revision``."""

    id = StringField(primary_key=True)
    kind = StringField(required=True)
    name = StringField(required=True)
    revision = IntField(required=True)

    meta = _collection("configuration", {"fields": ["kind", "name", "revision"]})


class LeaseDocument(Document):
    """A lease by name."""

    id = StringField(primary_key=True)
    owner = StringField(required=True)
    until = DateTimeField(required=True)

    meta = _collection("leases")


class ReservationDocument(DynamicDocument):
    """What is reserved for one machine, by the machine's id."""

    id = StringField(primary_key=True)
    datacenter_id = StringField(required=True)
    tenant = StringField(required=True)
    counted = BooleanField(required=True)  # in the tenant's account
    version = IntField(required=True)

    meta = _collection("reservations", {"fields": ["datacenter_id"]}, {"fields": ["tenant", "counted"]})


class UsageDocument(DynamicDocument):
    """What a reservation held until it changed or was given back; what is held now stands in the reservations."""

    id = ObjectIdField(primary_key=True)
    tenant = StringField(required=True)
    datacenter_id = StringField(required=True)
    since = DateTimeField(required=True)
    until = DateTimeField(required=True)

    meta = _collection("usage", {"fields": ["until"]}, {"fields": ["tenant", "until"]})


class AccountDocument(DynamicDocument):
    """What is reserved at one host, datastore or tenant, and the limit."""

    id = StringField(primary_key=True)
    datacenter_id = StringField(null=True)

    meta = _collection("accounts", {"fields": ["datacenter_id"]})


DOCUMENTS: tuple[type[Document], ...] = (
    OperationDocument,
    MachineDocument,
    DatacenterDocument,
    EventDocument,
    ArchivedEventDocument,
    UserDataDocument,
    SnapshotDocument,
    SampleDocument,
    TokenDocument,
    ConfigurationRevision,
    LeaseDocument,
    ReservationDocument,
    UsageDocument,
    AccountDocument,
)


def ensure_indexes() -> None:
    """Create every collection's indexes, where missing; while they are built, the collection stays usable."""
    for document in DOCUMENTS:
        document.ensure_indexes()


def collection_of(document: type[Document]) -> Collection[dict[str, Any]]:
    """Return the collection behind a document class, for conditional updates."""
    return cast("Collection[dict[str, Any]]", document._get_collection())  # noqa: SLF001 - its only accessor
