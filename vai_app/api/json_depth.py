"""How deep a JSON text is nested, told without reading it."""

import re

_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def is_deeper(text: bytes, levels: int) -> bool:
    """Whether objects and lists are nested deeper than ``levels``. The text need not be valid JSON."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        bracket = found.group()
        if bracket in (b"[", b"{"):
            depth += 1
            if depth > levels:
                return True
        elif bracket in (b"]", b"}"):
            depth -= 1
    return False
