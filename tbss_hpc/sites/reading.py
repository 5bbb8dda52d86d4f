"""A site file: YAML whose every value knows the line it stands on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from msgspec import Struct

from tbss_hpc.errors import UsageError
from tbss_hpc.sites.fields import FIELDS, Field

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
            values[key] = Value(read_text(key, text), where)
        except ValueError as error:
            lines.append(f"{where}: {error}")
    if lines:
        raise UsageError(
            "An option cannot be used as it is.",
            why="\n".join(lines),
            fix="type it again; configs/README.md explains every key",
        )
    return values


def read_text(key: str, text: str) -> object:
    """Read the value of one key. Raises ValueError, whose text says what was expected."""
    if key not in FIELDS:
        raise ValueError(_unknown(key))
    field = FIELDS[key]
    return (field.read(text),) if field.is_list else field.read(text)


class _BadTextError(Exception):
    """A file that is no text; holds the first fault."""

    def __init__(self, before: str | bytes, text: str) -> None:
        super().__init__(text)
        line = before.count("\n") if isinstance(before, str) else before.count(b"\n")
        self.fault = _Fault(line + 1, text)


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
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _BadTextError(
            content[: error.start], "is not UTF-8 text; save the file as UTF-8"
        ) from error
    if strange := yaml.reader.Reader.NON_PRINTABLE.search(text):
        what = f"holds a character that is no text (U+{ord(strange[0]):04X})"
        raise _BadTextError(text[: strange.start()], what)
    return text


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
            return error.fault
        case yaml.MarkedYAMLError() if error.problem_mark is not None:
            return _Fault(error.problem_mark.line + 1, _syntax_in_words(error))
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
    if root is None or root.value == "":  # nothing at all, or three dashes
        return
    if not isinstance(root, yaml.MappingNode):
        yield _Fault(_line(root), "expected lines of the form `key: value`")
        return
    seen: dict[str, int] = {}
    for key_node, node in root.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
        line = _line(key_node)
        if key in seen:
            yield _Fault(line, f"{key}: is set again; it was set on line {seen[key]}")
        elif key not in FIELDS:
            yield _Fault(line, f"{key}: {_unknown(key)}")
        else:
            faults, value = _value(FIELDS[key], node)
            yield from (_Fault(fault.line, f"{key}: {fault.text}") for fault in faults)
            if value is not None:
                values[key] = Value(value, f"{path}:{line}")
        seen.setdefault(key, line)


def _value(field: Field, node: yaml.Node) -> tuple[list[_Fault], object]:
    """Read what stands behind a key: what is wrong with it, or else its value, None if empty.

    A key that takes a list also takes one line, or a block of lines.
    """
    texts: list[tuple[int, str]] = []
    faults: list[_Fault] = []
    for scalar in _parts(field, node):
        match scalar:
            case yaml.ScalarNode() if scalar.tag in _PLAIN_TAGS:
                texts += [(_line(scalar), text) for text in _split(field, scalar, node)]
            case yaml.ScalarNode():
                text = f"{scalar.tag} means nothing here; write the value itself"
                faults.append(_Fault(_line(scalar), text))
            case _:
                faults.append(_Fault(_line(scalar), _expected(field, inside=scalar is not node)))
    read = [_read(field, line, text) for line, text in texts]
    faults += [found for found in read if isinstance(found, _Fault)]
    if faults or not texts:
        return faults, None
    return [], tuple(read) if field.is_list else read[0]


def _read(field: Field, line: int, text: str) -> object:
    try:
        return field.read(text)
    except ValueError as error:
        return _Fault(line, str(error))


def _parts(field: Field, node: yaml.Node) -> list[yaml.Node]:
    return node.value if field.is_list and isinstance(node, yaml.SequenceNode) else [node]


def _split(field: Field, scalar: yaml.ScalarNode, whole: yaml.Node) -> list[str]:
    """Give the texts in a scalar; a key left empty has none, but an empty entry of a list has."""
    if not field.is_list:
        return [scalar.value] if scalar.value else []
    if scalar is whole:
        return [line for line in scalar.value.splitlines() if line.strip()]
    return [scalar.value]


def _expected(field: Field, *, inside: bool) -> str:
    if inside:
        return (
            "expected plain text in each entry of the list; put one that holds"
            ' ": " or starts with [ or { in quotation marks'
        )
    if field.is_list:
        return "expected a list, one entry a line, each after `- `"
    return "expected one value here, not a list or a group of keys"


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key.lower().replace("_", "-"), FIELDS, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"there is no such key{hint}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
