"""Walltimes, memory sizes and counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbss_hpc.core.units import (
    format_memory,
    format_walltime,
    in_words,
    parse_count,
    parse_duration,
    parse_memory,
)

MINUTE, HOUR, DAY = 60, 3600, 86400
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12:30:00", 12 * HOUR + 30 * MINUTE),
        ("100:00:00", 100 * HOUR),
        ("0:00:30", 30),
        ("1-00:00:00", DAY),
        ("2-12", 2 * DAY + 12 * HOUR),
        ("2-12:30", 2 * DAY + 12 * HOUR + 30 * MINUTE),
        ("90 min", 90 * MINUTE),
        ("4 h", 4 * HOUR),
        ("4h", 4 * HOUR),
        ("30 s", 30),
        ("1 d", DAY),
        ("1.5 h", 90 * MINUTE),
        ("5m", 5 * MINUTE),
        ("2 hours", 2 * HOUR),
        ("3 h 20 min", 3 * HOUR + 20 * MINUTE),
        ("1d2h3min4s", DAY + 2 * HOUR + 3 * MINUTE + 4),
        (" 4 H ", 4 * HOUR),
    ],
)
def test_a_time_is_read_as_slurm_and_people_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("90", "'90 min'"),
        ("1.5", "'1.5 h'"),
        ("12:30", "12:30:00"),
        ("12:75:00", "59"),
        ("1-24:00:00", "23"),
        ("", "12:30:00"),
        ("soon", "12:30:00"),
        ("4 weeks", "12:30:00"),
        ("-5 min", "12:30:00"),
        ("20 min 3 h", "12:30:00"),
        ("3 h 3 h", "12:30:00"),
        ("UNLIMITED", "12:30:00"),
        ("inf h", "12:30:00"),
        ("1:00:00 h", "12:30:00"),
        ("٤ h", "12:30:00"),
        ("9" * 400 + " h", "12:30:00"),
    ],
)
def test_what_is_no_time_is_refused_with_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=r"write|part") as refusal:
        parse_duration(text)

    assert advice in str(refusal.value)


@given(st.integers(0, 400 * DAY))
def test_a_walltime_reads_back_as_it_was(seconds: int) -> None:
    assert parse_duration(format_walltime(seconds)) == seconds


def test_a_walltime_is_rounded_up_so_that_nothing_is_cut_short() -> None:
    assert format_walltime(59.2) == "00:01:00"


def test_hours_of_a_walltime_go_beyond_a_day() -> None:
    assert format_walltime(30 * HOUR) == "30:00:00"


def test_a_walltime_in_the_past_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="past"):
        format_walltime(-1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (3.72, "3.7 s"),
        (9.99, "10 s"),
        (45.4, "45 s"),
        (59.7, "1 min"),
        (90, "1 min 30 s"),
        (3599.8, "1 h"),
        (3 * HOUR + 20 * MINUTE + 10, "3 h 20 min"),
        (DAY - 1, "1 d"),
        (26 * HOUR + 40 * MINUTE, "1 d 3 h"),
    ],
)
def test_a_time_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@given(st.floats(0, 400 * DAY))
def test_what_is_told_is_close_to_the_truth_and_can_be_read(seconds: float) -> None:
    told = parse_duration(in_words(seconds))

    # Half a second is the most that whole seconds are off, from ten seconds up.
    assert told == pytest.approx(seconds, rel=0.021, abs=0.051 if seconds < 10 else 0.5)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * GIB),
        ("8 GiB", 8 * GIB),
        ("8G", 8 * GIB),
        ("8g", 8 * GIB),
        ("500M", 500 * MIB),
        ("1.5G", 1536 * MIB),
        ("64K", 64 * KIB),
        ("2T", 2048 * GIB),
    ],
)
def test_memory_is_read_in_powers_of_1024(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["8000", "8", "", "8 bytes", "-8G", "G", "8GG", "8 Gb/s", "all"])
def test_what_is_no_memory_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"write for example .*\dG"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (8 * GIB, "8G"),
        (7680 * MIB, "7680M"),
        (2048 * GIB, "2T"),
        (GIB + 1, "1048577K"),
        (1, "1K"),
        (0, "0K"),
    ],
)
def test_memory_is_written_in_the_largest_unit_that_keeps_it_whole(size: int, text: str) -> None:
    assert format_memory(size) == text


@given(st.integers(0, 1 << 45))
def test_memory_written_is_never_less_than_what_was_meant(size: int) -> None:
    assert 0 <= parse_memory(format_memory(size)) - size < KIB


def test_a_count_is_a_whole_number_of_at_least_one() -> None:
    assert parse_count("20") == 20


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "1_000", "٣", "9" * 30])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_count(text)
