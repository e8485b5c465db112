"""What every list promises: pages that join without a gap, and bounds."""

from datetime import timedelta

import pytest

from tests.builders import NOW, a_machine, an_event, an_operation
from tests.fakes import FakeStore
from vai_app.domain.errors import InvalidRequest
from vai_app.domain.events import Event
from vai_app.domain.operations import Operation
from vai_app.domain.ports.events import EventFilter
from vai_app.domain.ports.machines import MachineFilter
from vai_app.domain.ports.operations import OperationFilter
from vai_app.domain.ports.paging import LARGEST_PAGE, Page, PageRequest
from vai_app.domain.virtual_machines import VirtualMachine
from vai_app.store import Store

AnyStore = Store | FakeStore


def ids_of_page(store: AnyStore, what: str, request: PageRequest) -> tuple[list[str], str | None]:
    page: Page[Operation] | Page[VirtualMachine] | Page[Event]
    if what == "operations":
        page = store.operations.page(OperationFilter(tenant="acme"), request)
    elif what == "machines":
        page = store.machines.page(MachineFilter(tenant="acme"), request)
    else:
        page = store.events.page(EventFilter(tenant="acme"), request)
    return [each.id for each in page.items], page.next_token


def ids_of_every_page(store: AnyStore, what: str, size: int) -> list[list[str]]:
    pages = []
    token = None
    while True:
        ids, token = ids_of_page(store, what, PageRequest(size=size, token=token))
        pages.append(ids)
        if token is None:
            return pages


def fill(store: AnyStore, what: str, count: int) -> list[str]:
    """Store ``count`` of a tenant's and some of another's; return the ids in the order of the list."""
    made = []
    for number in range(count):
        for tenant in ("acme", "globex"):
            if what == "operations":
                stored = store.operations.insert(an_operation(tenant=tenant)).id
            elif what == "machines":
                machine = a_machine(tenant=tenant)
                store.machines.insert(machine)
                stored = machine.id
            else:
                event = an_event(tenant=tenant, at=NOW + timedelta(seconds=number // 3))
                store.events.append(event)
                stored = event.id
            if tenant == "acme":
                made.append(stored)
    return made if what == "machines" else made[::-1]


@pytest.mark.parametrize("what", ["operations", "machines", "events"])
def test_pages_join_without_gap_or_overlap(store: AnyStore, what: str) -> None:
    expected = fill(store, what, 7)
    assert ids_of_every_page(store, what, 3) == [expected[:3], expected[3:6], expected[6:]]
    assert ids_of_every_page(store, what, 7) == [expected]
    assert ids_of_every_page(store, what, LARGEST_PAGE) == [expected]


@pytest.mark.parametrize("what", ["operations", "machines", "events"])
def test_an_empty_list_is_one_empty_page(store: AnyStore, what: str) -> None:
    assert ids_of_every_page(store, what, 3) == [[]]


@pytest.mark.parametrize("size", [0, -1, LARGEST_PAGE + 1])
def test_a_page_size_out_of_bounds_is_refused(store: AnyStore, size: int) -> None:
    with pytest.raises(InvalidRequest, match="between 1 and 500"):
        store.machines.page(MachineFilter(tenant=None), PageRequest(size=size))


def test_a_page_token_that_no_list_returned_is_refused(store: AnyStore) -> None:
    with pytest.raises(InvalidRequest, match="page_token"):
        store.machines.page(MachineFilter(tenant=None), PageRequest(token="forged"))


def test_an_entry_that_comes_between_two_pages_repeats_and_hides_nothing(store: AnyStore) -> None:
    earlier = fill(store, "operations", 4)
    first = store.operations.page(OperationFilter(tenant="acme"), PageRequest(size=2))
    store.operations.insert(an_operation(tenant="acme"))
    second = store.operations.page(OperationFilter(tenant="acme"), PageRequest(size=2, token=first.next_token))
    assert [each.id for each in (*first.items, *second.items)] == earlier
