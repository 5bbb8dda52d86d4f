"""Walltimes, memory sizes and counts, as people and schedulers write them."""

from __future__ import annotations

import re
from math import ceil

_SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
#: Other ways to write the units above.
_SPELLINGS = {
    "day": "d",
    "days": "d",
    "hour": "h",
    "hours": "h",
    "hr": "h",
    "hrs": "h",
    "minute": "min",
    "minutes": "min",
    "mins": "min",
    "m": "min",
    "second": "s",
    "seconds": "s",
    "sec": "s",
    "secs": "s",
}
#: No more digits than a float keeps apart.
_NUMBER = r"\d{1,15}(?:\.\d{1,9})?"
_PART = re.compile(rf"({_NUMBER})\s*([a-z]+)\s*", re.ASCII)
_DAYS_CLOCK = re.compile(r"(\d{1,9})-(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?", re.ASCII)
_CLOCK = re.compile(r"(\d{1,9}):(\d{2}):(\d{2})", re.ASCII)
_HALF_A_CLOCK = re.compile(r"(\d{1,9}):(\d{2})", re.ASCII)

_HOURS_A_DAY = 24
_SIXTY = 60
#: Below this many seconds a tenth of one is worth showing.
_BRIEF_SECONDS = 10

#: All powers of 1024: SLURM and PBS read G and GB so, and asking for a little more than 10^9 bytes
#: hurts nobody, while a little less than what was meant gets a command killed.
_BYTES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MEMORY = re.compile(rf"({_NUMBER})\s*([KMGT])(?:I?B)?", re.ASCII)


def parse_duration(text: str) -> float:
    """Read a length of time, in seconds.

    Takes SLURM's `12:30:00`, `2-12`, `2-12:00` and `1-00:00:00`, and numbers with units: `90 min`,
    `4h`, `1.5 h`, `3 h 20 min`. Raises ValueError, whose text says what to write, for anything
    else; above all for what SLURM, PBS and people read differently.
    """
    words = text.strip().lower()
    if found := _DAYS_CLOCK.fullmatch(words):
        return _clock(text, *found.groups(default="0"))
    if found := _CLOCK.fullmatch(words):
        return _clock(text, "0", *found.groups())
    if _HALF_A_CLOCK.fullmatch(words):
        raise ValueError(
            f"{text!r} may be hours and minutes or minutes and seconds; write {words}:00, or 00:"
            f"{words}, or use units as in '90 min'"
        )
    if re.fullmatch(_NUMBER, words, re.ASCII):
        raise ValueError(
            f"{text!r} has no unit; write for example '{words} min', '{words} h' or '{words} s'"
        )
    return _sum_of_parts(text, words)


def _clock(text: str, days: str, hours: str, minutes: str, seconds: str) -> float:
    too_many_hours = "-" in text and int(hours) >= _HOURS_A_DAY
    if too_many_hours or int(minutes) >= _SIXTY or int(seconds) >= _SIXTY:
        raise ValueError(
            f"{text!r} has a part that is too large; minutes and seconds end at 59, and hours at 23"
            " when days stand before them"
        )
    return float(int(days) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds))


def _sum_of_parts(text: str, words: str) -> float:
    """Add up `3 h 20 min`: every unit once, from the largest down."""
    total, at, units = 0.0, 0, []
    while found := _PART.match(words, at):
        units.append(_SPELLINGS.get(found[2], found[2]))
        total += float(found[1]) * _SECONDS.get(units[-1], 0)
        at = found.end()
    in_order = [unit for unit in _SECONDS if unit in units]
    if not units or at != len(words) or units != in_order:
        raise ValueError(
            f"{text!r} is not a time; write hours:minutes:seconds as in 12:30:00, days-hours:"
            "minutes:seconds as in 1-12:00:00, or units as in '90 min' or '3 h 20 min'"
        )
    return total


def format_walltime(seconds: float) -> str:
    """Write a length of time as every scheduler reads it: HH:MM:SS, hours beyond 24 included."""
    if seconds < 0:
        raise ValueError(f"a walltime of {seconds} s is in the past")
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}"


def in_words(seconds: float) -> str:
    """Write a length of time for people, in its two largest units: `3 h 20 min`, `45 s`."""
    seconds = max(seconds, 0.0)
    if seconds < _BRIEF_SECONDS:
        return f"{round(seconds, 1):g} s"
    left = _rounded(seconds)
    parts = []
    for unit, size in _SECONDS.items():
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts)


def _rounded(seconds: float) -> int:
    """Round to what the second largest unit can show; whole seconds below an hour."""
    if seconds < _SECONDS["h"]:
        step = 1
    elif seconds < _SECONDS["d"]:
        step = _SECONDS["min"]
    else:
        step = _SECONDS["h"]
    return round(seconds / step) * step


def parse_memory(text: str) -> int:
    """Read an amount of memory, in bytes.

    K, M, G and T are powers of 1024, as SLURM means them; so are KB and KiB and their kin. Raises
    ValueError, whose text says what to write, for anything else.
    """
    words = text.strip().upper()
    if found := _MEMORY.fullmatch(words):
        return ceil(float(found[1]) * _BYTES[found[2]])
    if re.fullmatch(_NUMBER, words, re.ASCII):
        raise ValueError(f"{text!r} has no unit; write for example {words}G or {words}M")
    raise ValueError(f"{text!r} is not an amount of memory; write for example 8G or 500M")


def format_memory(size: int) -> str:
    """Write bytes as SLURM reads them, in the largest unit that keeps them whole: `8G`, `7680M`."""
    # Schedulers know nothing smaller than a kilobyte; rounding down would be asking for too little.
    kilobytes = ceil(size / _BYTES["K"])
    exact = [unit for unit, factor in _BYTES.items() if kilobytes % (factor >> 10) == 0]
    unit = exact[-1] if kilobytes else "K"
    return f"{kilobytes // (_BYTES[unit] >> 10)}{unit}"


def parse_count(text: str) -> int:
    """Read a whole number of at least 1. Raises ValueError, whose text says so."""
    if re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII) and int(text) >= 1:
        return int(text)
    raise ValueError(f"{text!r} is not a whole number of at least 1")
