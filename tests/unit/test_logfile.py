"""A log can be split into its attempts again, whatever the commands printed."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest

from tbss_hpc.core.attempt import AttemptId, Measures
from tbss_hpc.core.outcome import Failed, Outcome, Succeeded
from tbss_hpc.store.logfile import (
    AttemptLog,
    Header,
    Trailer,
    read_attempts,
    write_header,
    write_trailer,
)

COMMAND = "0123456789abcdef"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "F" / "G_to_F.log"


def header(number: int, text: str = "fsl_reg G F G_to_F -FA", folder: str = "/data/FA") -> Header:
    return Header(
        attempt=AttemptId(COMMAND, number),
        name="G_to_F",
        text=text,
        folder=folder,
        node="node7",
        allocation="tb-12ab-003",
        start=1_800_000_000.0,
    )


def trailer(number: int, outcome: Outcome, code: int | None) -> Trailer:
    took = Measures(
        start=1_800_000_000.0,
        end=1_800_000_090.5,
        seconds=90.46,
        cpu_seconds=88.04,
        peak_memory_bytes=812_400_000,
    )
    return Trailer(AttemptId(COMMAND, number), outcome, code, took)


def append(log: Path, output: bytes) -> None:
    with log.open("ab") as file:
        file.write(output)


def attempt(log: Path, number: int, output: bytes, outcome: Outcome | None = None) -> None:
    """Write an attempt as it would be; without an outcome, its worker was lost."""
    begin = write_header(log, header(number))
    append(log, output)
    if outcome:
        write_trailer(log, trailer(number, outcome, 0), begin)


def numbers(log: Path) -> list[int]:
    return [found.attempt.number for found in read_attempts(log)]


def output_of(log: Path, found: AttemptLog) -> bytes:
    return log.read_bytes()[found.output_begin : found.output_end]


def test_an_attempt_reads_as_plain_lines(log: Path) -> None:
    attempt(log, 2, b"two lines\nof output\n", Failed(3))
    # The hour depends on where we are.
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", "MOMENT", log.read_text())

    assert text == (
        "# tbss-hpc attempt 2 of 0123456789abcdef begins\n"
        "# name         G_to_F\n"
        "# command      fsl_reg G F G_to_F -FA\n"
        "# folder       /data/FA\n"
        "# node         node7\n"
        "# allocation   tb-12ab-003\n"
        "# start        MOMENT\n"
        "two lines\n"
        "of output\n"
        "# tbss-hpc attempt 2 of 0123456789abcdef ended\n"
        "# end          MOMENT\n"
        "# outcome      failed with exit code 3\n"
        "# exit code    0\n"
        "# seconds      90.5\n"
        "# CPU seconds  88.0\n"
        "# peak memory  812 MB\n"
        "# output       20 bytes\n"
    )


def test_what_was_written_can_be_read(log: Path) -> None:
    attempt(log, 1, b"first\n", Failed(1))
    attempt(log, 2, b"second\n", Succeeded())
    first, second = read_attempts(log)

    assert [first.attempt, second.attempt] == [AttemptId(COMMAND, 1), AttemptId(COMMAND, 2)]
    assert [output_of(log, first), output_of(log, second)] == [b"first\n", b"second\n"]
    assert first.header["node"] == "node7"
    assert first.header["command"] == "fsl_reg G F G_to_F -FA"
    assert [first.trailer["outcome"], second.trailer["outcome"]] == [
        "failed with exit code 1",
        "succeeded",
    ]
    assert (first.begin, first.end) == (0, second.begin)
    assert second.end == log.stat().st_size


@pytest.mark.parametrize("output", [b"", b"\n", b"no newline", b"\xff\xfe\0binary", b"\r\n\r"])
def test_output_of_any_shape_comes_back(log: Path, output: bytes) -> None:
    attempt(log, 1, output, Succeeded())
    attempt(log, 2, output)
    attempt(log, 3, b"end\n", Succeeded())
    first, second, third = read_attempts(log)
    ended = output if not output or output.endswith(b"\n") else output + b"\n"

    assert output_of(log, first) == output_of(log, second) == ended
    assert output_of(log, third) == b"end\n"
    assert first.trailer["output"] == f"{len(output)} bytes"


def test_a_lost_attempt_has_no_trailer_and_ends_where_the_next_begins(log: Path) -> None:
    attempt(log, 1, b"and then")
    attempt(log, 2, b"fine\n", Succeeded())
    first, second = read_attempts(log)

    assert first.trailer == {}
    assert first.end == first.output_end == second.begin


def test_a_log_that_stops_within_its_trailer_is_a_lost_attempt(log: Path) -> None:
    attempt(log, 1, b"output\n", Succeeded())
    log.write_bytes(log.read_bytes()[:-30])
    (found,) = read_attempts(log)

    assert found.trailer == {}
    assert output_of(log, found).startswith(b"output\n# tbss-hpc attempt 1")


def test_a_command_that_prints_its_own_log_is_still_one_attempt(log: Path) -> None:
    attempt(log, 1, b"first\n", Failed(1))
    begin = write_header(log, header(2))
    copy = log.read_bytes()
    append(log, copy)
    write_trailer(log, trailer(2, Succeeded(), 0), begin)
    append(log, b"")
    attempt(log, 3, log.read_bytes(), Succeeded())
    _, second, third = read_attempts(log)

    assert output_of(log, second) == copy
    assert output_of(log, third).count(b" begins\n") == 4
    assert third.trailer["outcome"] == "succeeded"


@pytest.mark.parametrize(
    "line",
    [
        b"# tbss-hpc attempt 7 of 0123456789abcdef begins\n",
        b"# tbss-hpc attempt 1 of 0123456789abcdef ended\n# outcome      succeeded\n",
        b"# tbss-hpc attempt 1 of fedcba9876543210 ended\n",
        b"# tbss-hpc attempt 99999999999999999999 of x begins\n",
    ],
)
def test_lines_that_look_similar_are_output(log: Path, line: bytes) -> None:
    attempt(log, 1, b"a\n" + line + b"b\n", Failed(1))
    (found,) = read_attempts(log)

    assert output_of(log, found) == b"a\n" + line + b"b\n"
    assert found.trailer["outcome"] == "failed with exit code 1"


def test_a_text_of_several_lines_or_odd_bytes_stays_one_header(log: Path) -> None:
    odd = b"echo '\xe9'\necho 2".decode(errors="surrogateescape")
    write_header(log, header(1, text=odd, folder="/data/Müller"))
    (found,) = read_attempts(log)

    assert found.header["command"] == odd.replace("\n", "\\n")
    assert found.header["folder"] == "/data/Müller"


def test_an_empty_log_holds_no_attempt(log: Path) -> None:
    log.parent.mkdir(parents=True)
    log.touch()

    assert read_attempts(log) == []


def test_a_log_without_marks_holds_no_attempt(log: Path) -> None:
    log.parent.mkdir(parents=True)
    log.write_text("something else\n")

    assert read_attempts(log) == []


def test_a_long_log_is_not_held_in_memory(log: Path) -> None:
    begin = write_header(log, header(1))
    with log.open("ab") as file:
        for _ in range(100):
            file.write(b"# tbss-hpc says nothing\n" * 20_000 + b"x" * 520_000)
    write_trailer(log, trailer(1, Succeeded(), 0), begin)
    attempt(log, 2, b"short\n", Succeeded())
    limit = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + 50_000_000, limit[1]))
    try:
        first, second = read_attempts(log)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limit)

    assert first.output_end - first.output_begin == 100 * (24 * 20_000 + 520_000) + 1
    assert output_of(log, second) == b"short\n"


def _data_bytes() -> int:
    """Give the memory of this process that RLIMIT_DATA limits; a lot where it is not told."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if "VmData" in line), 1 << 40)
