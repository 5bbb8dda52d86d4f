"""A resolved site written down: a site file again, with the origin of each value beside it."""

from __future__ import annotations

import re

import yaml

from tbss_hpc.core.site import KEYS
from tbss_hpc.sites.fields import FIELDS
from tbss_hpc.sites.resolving import Resolved

#: What every reader of YAML takes for the text that it is.
_PLAIN = re.compile(r"(--)?[A-Za-z0-9_/$.][A-Za-z0-9_/$.,:=@%+*-]*( [A-Za-z0-9_/$.,=@%+*-]+)*")
_COLUMN = 40


def as_yaml(resolved: Resolved) -> str:
    """Write a site with the origin of each value as a comment; reading it gives the same site."""
    lines = ["# The site as tbss-hpc uses it; behind each value, where it comes from."]
    for key in KEYS:
        value = getattr(resolved.site, key.replace("-", "_"))
        lines += _lines(key, value, resolved.origins[key])
    return "\n".join(lines) + "\n"


def _lines(key: str, value: object, origin: str) -> list[str]:
    field = FIELDS[key]
    if value is None or value == ():
        return [f"# {key}: is not set"]
    if isinstance(value, tuple) and field.is_list:
        return [_commented(f"{key}:", origin), *(f"  - {_scalar(line)}" for line in value)]
    return [_commented(f"{key}: {_scalar(field.write(value))}", origin)]


def _commented(text: str, origin: str) -> str:
    return f"{text.ljust(_COLUMN)}  # {origin}"


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and not text.endswith(":"):
        return text
    # PyYAML's double-quoted style never spreads over lines when it has the room.
    return str(yaml.safe_dump(text, default_style='"', width=1 << 30, allow_unicode=True)).strip()
