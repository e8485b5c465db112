"""How the fakes filter and page."""

from collections.abc import Callable
from typing import TypeVar

from vai_app.domain.errors import InvalidRequest
from vai_app.domain.ports.paging import LARGEST_PAGE, Page, PageRequest

T = TypeVar("T")


def fits(wanted: object, value: object) -> bool:
    """Whether a filter's property lets the value through."""
    return wanted is None or wanted == value


def page_of(found: list[T], page: PageRequest, *, key: Callable[[T], str], descending: bool) -> Page[T]:
    """Return one page; the token is ``after:`` and the last key."""
    if not 1 <= page.size <= LARGEST_PAGE:
        raise InvalidRequest(f"page_size must be between 1 and {LARGEST_PAGE}.")
    ordered = sorted(found, key=key, reverse=descending)
    if page.token is not None:
        if not page.token.startswith("after:"):
            raise InvalidRequest("page_token is not one that this list returned.")
        last = page.token.removeprefix("after:")
        ordered = [each for each in ordered if (key(each) < last if descending else key(each) > last)]
    items = ordered[: page.size]
    return Page(items=items, next_token=f"after:{key(items[-1])}" if len(ordered) > page.size else None)
