"""Command lists: one command a line, each run by `bash -c` as it stands."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tbss_hpc.core.command import Command, Output, check_for, identity
from tbss_hpc.errors import UsageError

#: What Windows' editors put before the first line.
_BYTE_ORDER_MARK = "\ufeff"
_WORD = re.compile(r"\{(\d+)\}")


def parse_list(
    content: bytes, *, source: str, folder: str, expected: Sequence[str] = ()
) -> tuple[Command, ...]:
    """Read a command list.

    content -- as the file has it: CRLF, a byte-order mark and a missing last newline are
    tolerated; blank lines and those whose first character is `#` are no commands.
    source -- what to call the list in complaints.
    folder -- absolute; where each command runs.
    expected -- templates of output names: `{3}` is the third argument of the line, `{0}` its
    program, as the shell numbers them.

    Raises UsageError with the list's name and line for what cannot be a command.
    """
    lines = list(_command_lines(content, source))
    if not lines:
        raise UsageError(
            f"{source} holds no command.",
            why="every line is blank or starts with #",
            fix="write one command a line",
        )
    seen: Counter[str] = Counter()
    commands = []
    for number, text in lines:
        outputs = [_fill(t, text, f"{source}:{number}") for t in expected]
        commands.append(_command(number, text, folder, seen[text], outputs))
        seen[text] += 1
    return tuple(commands)


def with_outputs(
    commands: Sequence[Command], content: bytes, *, source: str
) -> tuple[Command, ...]:
    """Give each command the outputs that a second list names: tab-separated, one line each.

    Raises UsageError if there are not as many lines as commands.
    """
    rows = [line.rstrip("\r") for line in _decode(content, source).split("\n")]
    if rows and not rows[-1]:
        rows.pop()
    if len(rows) != len(commands):
        raise UsageError(
            f"{source} has {len(rows)} lines for {len(commands)} commands.",
            why="line n names the outputs of the n-th command, separated by tabs",
            fix="write one line for each command; an empty line where it has no output",
        )
    return tuple(
        _replace_outputs(command, [path for path in row.split("\t") if path])
        for command, row in zip(commands, rows, strict=True)
    )


def refuse_shared_outputs(commands: Iterable[Command], source: str) -> None:
    """Raise UsageError if two commands name one output: neither could be proved by it."""
    owners: dict[str, Command] = {}
    for command in commands:
        for output in command.outputs:
            other = owners.setdefault(output.path, command)
            if other is not command:
                raise UsageError(
                    f"{source}:{command.line}: this command names the output of another one.",
                    why=f"{output.path} belongs to line {other.line} already",
                    fix="give each command an output of its own, or name no outputs",
                )


def _command_lines(content: bytes, source: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_decode(content, source).split("\n"), start=1):
        text = line.rstrip("\r")
        if "\0" in text:
            raise UsageError(
                f"{source}:{number}: there is a NUL character in this line.",
                fix="check that this is a list of commands, as text",
            )
        if text.strip() and not text.startswith("#"):
            yield number, text


def _decode(content: bytes, source: str) -> str:
    try:
        return content.decode().removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{source}:{number}: this line is not UTF-8.",
            why=f"byte {error.object[error.start]:#04x} at position {error.start} of the file",
            fix=f"convert it, for example: iconv -f latin1 -t utf-8 {source}",
        ) from error


def _command(
    number: int, text: str, folder: str, occurrence: int, outputs: Sequence[str]
) -> Command:
    command = Command(
        id=identity(text, folder, occurrence),
        line=number,
        name=f"L{number}",
        text=text,
        folder=folder,
    )
    return _replace_outputs(command, outputs)


def _replace_outputs(command: Command, paths: Sequence[str]) -> Command:
    return Command(
        id=command.id,
        line=command.line,
        name=command.name,
        text=command.text,
        folder=command.folder,
        outputs=tuple(Output(path, check_for(path)) for path in paths),
    )


def _fill(template: str, text: str, where: str) -> str:
    words = _words(text)

    def word(match: re.Match[str]) -> str:
        index = int(match[1])
        if index >= len(words):
            numbered = " ".join(f"{{{n}}}={w}" for n, w in enumerate(words))
            raise UsageError(
                f"{where}: --expect {template!r} asks for word {index} of this line.",
                why=f"its words are {numbered}",
                fix="number the words as the shell does: {0} is the program",
            )
        return words[index]

    return _WORD.sub(word, template)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe in a comment, say: still a line that bash may like
        return text.split()
