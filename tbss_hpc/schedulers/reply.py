"""What a scheduler's program said, word for word."""

from __future__ import annotations

from msgspec import Struct


class Reply(Struct, frozen=True):
    """One call of a program and what came back."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """Give the program's own words about what went wrong, or what little there is."""
        words = self.stderr.strip() or self.stdout.strip()
        return words or f"{self.argv[0]} ended with exit code {self.exit_code} and said nothing"
