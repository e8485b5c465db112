"""Bulk reads: one RetrievePropertiesEx, its answer read into plain rows.

pyVmomi builds a Python object for every element; for thousands of machines that takes seconds. The bulk reads
need a few plain values of each, which the standard library's parser finds about five times faster.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from pyVmomi import VmomiSupport, vim, vmodl

VIM = "{urn:vim25}"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_NAMESPACE = "urn:vim25"
_ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}Envelope"

Element = ET.Element


@dataclass(frozen=True, slots=True)
class Row:
    """What was read of one managed object. ``kind`` is its vSphere type; unset properties have no entry."""

    ref: str
    kind: str
    values: Mapping[str, Element] = field(default_factory=dict)

    def text(self, path: str) -> str | None:
        """Return a plain value, or a reference, as it stands in the answer; ``None`` when it is unset."""
        value = self.values.get(path)
        return None if value is None else value.text

    def number(self, path: str) -> int:
        """Return a whole number; 0 when it is unset."""
        return int(self.text(path) or 0)

    def flag(self, path: str) -> bool:
        """Return a boolean; ``False`` when it is unset."""
        return self.text(path) in ("true", "1")

    def texts(self, path: str) -> tuple[str, ...]:
        """Return the plain values or references of an array; empty when it is unset."""
        value = self.values.get(path)
        return () if value is None else tuple(item.text for item in value if item.text)

    def options(self, path: str, keys: Sequence[str]) -> dict[str, str]:
        """Return those of an array of OptionValue that have one of the keys."""
        value = self.values.get(path)
        if value is None:
            return {}
        pairs = ((item.findtext(f"{VIM}key", ""), item.findtext(f"{VIM}value")) for item in value)
        return {key: text for key, text in pairs if key in keys and text}

    def members(self, path: str) -> dict[str, str]:
        """Return the plain members of an object."""
        return {child.tag.removeprefix(VIM): child.text or "" for child in self.values.get(path, ())}

    def items(self, path: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Return type and plain members of each object of an array."""
        for item in self.values.get(path, ()):
            yield wsdl_type(item), {child.tag.removeprefix(VIM): child.text or "" for child in item}


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and the token that asks for the rest."""

    rows: list[Row]
    token: str | None


def envelope(body: bytes) -> Element:
    """Return the root of a SOAP answer. Raises ParseError for anything else, so that no page counts as emptiness."""
    root = ET.fromstring(body)  # noqa: S314 - expat 2.4.1 and later bounds the growth of entities
    if root.tag != _ENVELOPE:
        raise ET.ParseError(f"{root.tag} is no SOAP envelope")
    return root


def parse_page(body: bytes) -> Page:
    """Read the answer of RetrievePropertiesEx or ContinueRetrievePropertiesEx.

    Raises ParseError, and NotAuthenticated where vCenter answered without the properties for lack of a session.
    """
    root = envelope(body)
    rows = [_row(element) for element in root.iter(f"{VIM}objects")]
    token = next(root.iter(f"{VIM}token"), None)
    return Page(rows, None if token is None else token.text)


def parse_updates(body: bytes) -> tuple[str | None, list[Row]]:
    """Read the answer of WaitForUpdatesEx: the next version (``None`` when nothing changed), and what changed."""
    root = envelope(body)
    version = next(root.iter(f"{VIM}version"), None)
    rows = []
    for update in root.iter(f"{VIM}objectSet"):
        obj = update.find(f"{VIM}obj")
        changes = {}
        for change in update.iter(f"{VIM}changeSet"):
            value = change.find(f"{VIM}val")
            if value is not None:
                changes[change.findtext(f"{VIM}name") or ""] = value
        if obj is not None:
            rows.append(Row(obj.text or "", obj.get("type", ""), changes))
    return (None if version is None else version.text), rows


def wsdl_type(element: Element) -> str:
    """Return the vSphere type that an element declares, without a prefix."""
    return (element.get(_TYPE) or "").rpartition(":")[2]


def fault_in(localized: Element) -> vmodl.MethodFault:
    """Rebuild the fault within a LocalizedMethodFault."""
    element = localized.find(f"{VIM}fault")
    return vmodl.MethodFault() if element is None else _fault_of(element)


def fault_answered(body: bytes) -> vmodl.MethodFault:
    """Rebuild the fault that a SOAP answer holds instead of a result. Raises ParseError."""
    root = envelope(body)
    for detail in root.iter("detail"):
        for element in detail:
            return _fault_of(element)
    return vmodl.MethodFault()


def _fault_of(element: Element) -> vmodl.MethodFault:
    """Return a fault of the declared type with those of its members that decide anything.

    A type that pyVmomi does not know, or that is none of a fault, is a fault without a name.
    """
    try:
        kind = VmomiSupport.GetWsdlType(_NAMESPACE, wsdl_type(element))
    except KeyError:
        return vmodl.MethodFault()
    if not issubclass(kind, vmodl.MethodFault):
        return vmodl.MethodFault()
    fault = kind()
    for name in ("requestedState", "existingState", "privilegeId"):
        text = element.findtext(f"{VIM}{name}")
        if text and hasattr(fault, name):
            setattr(fault, name, text)
    gone = element.findtext(f"{VIM}obj")
    if gone and isinstance(fault, vmodl.fault.ManagedObjectNotFound):
        fault.obj = VmomiSupport.ManagedObject(gone)
    cause = element.find(f"{VIM}faultCause")
    if cause is not None:
        fault.faultCause = fault_in(cause)
    return fault


def _row(element: Element) -> Row:
    ref, kind = "", ""
    values = {}
    for child in element:
        if child.tag == f"{VIM}propSet":
            values[child[0].text or ""] = child[1]
        elif child.tag == f"{VIM}obj":
            ref, kind = child.text or "", child.get("type", "")
        elif child.tag == f"{VIM}missingSet":
            _check_session(child)
    return Row(ref, kind, values)


def _check_session(missing: Element) -> None:
    localized = missing.find(f"{VIM}fault")
    if localized is not None and isinstance(fault := fault_in(localized), vim.fault.NotAuthenticated):
        raise fault
