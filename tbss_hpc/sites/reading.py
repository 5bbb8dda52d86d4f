"""A site file: YAML whose every value knows the line it stands on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from msgspec import Struct

from tbss_hpc.errors import UsageError
from tbss_hpc.sites.fields import FIELDS, parse_value

#: What PyYAML calls a value that carries no tag of its own.
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}


class Value(Struct, frozen=True):
    """The value of one key, and where it comes from."""

    value: object
    origin: str  #: `file:line`, `--option` or `default`


class SiteFile(Struct, frozen=True):
    """What one file says."""

    path: Path
    values: dict[str, Value]  #: by key; what is left empty in the file is left out here

    @property
    def scheduler(self) -> str | None:
        """Give the scheduler that the file is for, if it says so."""
        given = self.values.get("scheduler")
        return str(given.value) if given is not None else None


class _Fault(Struct, frozen=True):
    """Something wrong in a file."""

    line: int  #: 1-based
    text: str


def read_site(path: Path) -> SiteFile:
    """Read a site file.

    Raises one UsageError that lists everything that is wrong with it, line by line.
    """
    try:
        text = _decode(path)
        # BaseLoader leaves every scalar as it was written: to the others 12:30:00 is 45000,
        # 0123 is 83 and no is False.
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, _BadTextError, RecursionError) as error:
        raise _refuse(path, [_syntax_fault(error)]) from error
    values: dict[str, Value] = {}
    faults = list(_take_in(root, path, values))
    if faults:
        raise _refuse(path, faults)
    return SiteFile(path, values)


def read_texts(texts: Mapping[str, str], origin: str) -> dict[str, Value]:
    """Read values that were typed as options; `origin` is a template such as `--{key}`.

    Raises one UsageError that lists everything that is wrong with them.
    """
    values, lines = {}, []
    for key, text in texts.items():
        where = origin.format(key=key)
        try:
            values[key] = Value(_read(key, [text]), where)
        except ValueError as error:
            lines.append(f"{where}: {error}")
    if lines:
        raise UsageError("An option cannot be used as it is.", why="\n".join(lines))
    return values


class _BadTextError(Exception):
    """A file that is no text; holds the 1-based line."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _decode(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The site file {path} cannot be read.",
            why=f"{error.strerror}",
            fix="name another one with --site, or mend its name or permissions",
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _BadTextError(content[: error.start].count(b"\n") + 1) from error


def _refuse(path: Path, faults: Sequence[_Fault]) -> UsageError:
    in_order = sorted(faults, key=lambda fault: fault.line)
    return UsageError(
        f"The site file {path} cannot be used as it is.",
        why="\n".join(f"{path}:{fault.line}: {fault.text}" for fault in in_order),
        fix="edit the lines above; configs/README.md explains every key",
    )


def _syntax_fault(error: yaml.YAMLError | _BadTextError | RecursionError) -> _Fault:
    match error:
        case _BadTextError():
            return _Fault(error.line, "is not UTF-8 text; save the file as UTF-8")
        case yaml.MarkedYAMLError() if error.problem_mark is not None:
            return _Fault(error.problem_mark.line + 1, _syntax_in_words(error))
        case yaml.reader.ReaderError():
            code = error.character if isinstance(error.character, int) else ord(error.character)
            return _Fault(1, f"the file holds a character that is no text (U+{code:04X})")
        case _:
            return _Fault(1, "is not YAML that anybody could read")


def _syntax_in_words(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    if "'\\t'" in problem:
        return "has a tab where YAML wants spaces"
    if "mapping values are not allowed" in problem:
        return (
            "is not YAML: a second colon, or wrong indentation; write one `key: value` on a line,"
            ' and put a value that holds ": " in quotation marks'
        )
    context = f" {error.context}" if error.context else ""
    return f"is not YAML:{context} {problem}"


def _take_in(root: yaml.Node | None, path: Path, values: dict[str, Value]) -> Iterator[_Fault]:
    """Fill in the values of a file, and give what is wrong with it."""
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        yield _Fault(_line(root), "expected lines of the form `key: value`")
        return
    seen: dict[str, int] = {}
    for key_node, node in root.value:
        key, line = str(key_node.value), _line(key_node)
        if key in seen:
            yield _Fault(line, f"{key}: is set again; it was set on line {seen[key]}")
            continue
        seen[key] = line
        try:
            value = _value(key, node)
        except ValueError as error:
            yield _Fault(line, f"{key}: {error}")
            continue
        if value is not None:
            values[key] = Value(value, f"{path}:{line}")


def _value(key: str, node: yaml.Node) -> object:
    """Read one value; None if the key was left empty. Raises ValueError."""
    texts = _texts(key, node)
    return _read(key, texts) if texts else None


def _texts(key: str, node: yaml.Node) -> list[str]:
    """Give what was written; a key that takes a list also takes one line, or a block of lines."""
    field = FIELDS.get(key)
    if field is None:
        raise ValueError(_unknown(key))
    match node:
        case yaml.ScalarNode() if field.is_list:
            return [line for line in _scalar(node).splitlines() if line.strip()]
        case yaml.ScalarNode():
            return [text] if (text := _scalar(node)) else []
        case yaml.SequenceNode() if field.is_list:
            return [_scalar(entry) for entry in node.value]
        case _ if field.is_list:
            raise ValueError("expected a list, one entry a line, each after `- `")
        case _:
            raise ValueError("expected one value here, not a list or a group of keys")


def _scalar(node: yaml.Node) -> str:
    match node:
        case yaml.ScalarNode() if node.tag in _PLAIN_TAGS:
            return str(node.value)
        case yaml.ScalarNode():
            raise ValueError(f"{node.tag} means nothing here; write the value itself")
        case _:
            raise ValueError(
                "expected plain text in each entry of the list; put one that holds"
                ' ": " or starts with [ or { in quotation marks'
            )


def _read(key: str, texts: Sequence[str]) -> object:
    field = FIELDS.get(key)
    if field is None:
        raise ValueError(_unknown(key))
    return parse_value(field, texts)


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key.lower().replace("_", "-"), FIELDS, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"there is no such key{hint}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
