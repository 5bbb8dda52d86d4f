"""Whether a command gets another attempt."""

from __future__ import annotations

from msgspec import Struct

from tbss_hpc.core.outcome import Cut, Fault, Outcome, fault


class RetryPolicy(Struct, frozen=True):
    """Two budgets: one for the command's own faults, one for the infrastructure's."""

    command_retries: int = 2
    infrastructure_retries: int = 10

    def allows(self, outcomes: tuple[Outcome, ...]) -> bool:
        """Say whether a command that ended in these ways, in order, is worth another attempt."""
        charged = [charge(outcomes[: n + 1]) for n in range(len(outcomes))]
        return (
            charged.count(Fault.COMMAND) <= self.command_retries
            and charged.count(Fault.INFRASTRUCTURE) <= self.infrastructure_retries
        )


def charge(outcomes: tuple[Outcome, ...]) -> Fault:
    """Say whose budget the last of these outcomes uses up.

    The first cut is the queue's doing; a command that is cut again is too long for it.
    """
    *earlier, last = outcomes
    if isinstance(last, Cut) and any(isinstance(outcome, Cut) for outcome in earlier):
        return Fault.COMMAND
    return fault(last)
