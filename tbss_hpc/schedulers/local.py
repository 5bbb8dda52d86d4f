"""The local dialect: allocations are processes of ours, and there is little to say about them."""

from __future__ import annotations


def in_words(state: str, reason: str) -> str:
    """Say what an allocation does."""
    return f"{state} ({reason})" if reason else state


def refusal_fix(_words: str) -> str:
    """Say what to do about a process that could not be started: nothing that we know."""
    return ""
