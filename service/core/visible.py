"""Text from anyone, so that it can be shown: it ends no line, drives no terminal, is Unicode."""

import json
import re
from typing import Final

__all__ = ["visible", "visible_lines"]

_UNPRINTABLE: Final = re.compile(r"[^ -~]")


def visible(text: str) -> str:
    """Escape as JSON does what could end a line elsewhere, drive a terminal or is not Unicode."""
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def visible_lines(text: str) -> str:
    """Escape each line of `text`; its lines stay."""
    return "\n".join(map(visible, text.split("\n")))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character.isprintable():
        return character
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"  # a lone surrogate is no character; strict readers refuse even its escape
    return json.dumps(character)[1:-1]
