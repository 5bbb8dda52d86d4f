"""Whether a command gets another attempt."""

from __future__ import annotations

from msgspec import Struct

from tbss_hpc.core.outcome import Cut, Fault, Outcome, fault

#: So many cuts by the walltime show that a command does not fit into the queue.
TOO_LONG = 2


class RetryPolicy(Struct, frozen=True):
    """Two budgets: one for the command's own faults, one for the infrastructure's."""

    command_retries: int = 2
    infrastructure_retries: int = 10

    def allows(self, outcomes: tuple[Outcome, ...]) -> bool:
        """Say whether a command that ended in these ways, in order, is worth another attempt.

        The first time that the walltime cuts a command is the queue's doing. A command that is cut
        again is too long for the queue, and would be cut a third time.
        """
        faults = [fault(outcome) for outcome in outcomes]
        return (
            faults.count(Fault.COMMAND) <= self.command_retries
            and faults.count(Fault.INFRASTRUCTURE) <= self.infrastructure_retries
            and sum(_too_long(outcome) for outcome in outcomes) < TOO_LONG
        )


def _too_long(outcome: Outcome) -> bool:
    return isinstance(outcome, Cut) and outcome.walltime
