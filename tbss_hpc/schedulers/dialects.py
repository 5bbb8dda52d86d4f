"""Which dialect a scheduler speaks."""

from __future__ import annotations

from typing import Protocol

from tbss_hpc.schedulers import local, slurm


class Dialect(Protocol):
    """What every dialect can say about its scheduler's words."""

    def in_words(self, state: str, reason: str, /) -> str:
        """Say in a sentence what the scheduler does with an allocation."""

    def refusal_fix(self, words: str, /) -> str:
        """Say what to edit or type after a refusal; nothing for words we do not know."""


def dialect_of(scheduler: str) -> Dialect:
    """Choose the dialect of a scheduler."""
    return {"slurm": slurm, "local": local}[scheduler]
