"""Why an allocation came to nothing, from what can be seen of it."""

from __future__ import annotations

import re

#: What an allocation printed, and what that usually means.
_CAUSES = (
    (
        r"No such file or directory|[Nn]ot found|cannot execute",
        (
            "the node does not see this virtual environment or the run folder: put both on a file "
            "system that login and compute nodes share"
        ),
    ),
    (
        r"No module named|ModuleNotFoundError|ImportError",
        (
            "the node's Python is not this one: install tbss-hpc into a virtual environment on a "
            "shared file system"
        ),
    ),
    (
        r"set-up lines of the site file",
        "the `setup` lines of the site file fail on the node",
    ),
    (
        r"both must be the same version",
        "tbss-hpc was updated while the run went on: `tbss-hpc cancel`, then `resume`",
    ),
    (
        r"Permission denied",
        "the node may not read this virtual environment or the run folder",
    ),
    (
        r"No space left|[Dd]isk quota exceeded",
        "a file system that the worker needs is full",
    ),
    (
        r"oom|out of memory|Cannot allocate memory|MemoryError|Killed",
        "the allocation has too little memory: set `memory` in the site file higher",
    ),
    (
        r"does not answer",
        (
            "the node cannot reach the controller: set `interface` in the site file to a network "
            "that both are on, and `ports` to a range that the firewall lets through"
        ),
    ),
)


def likely_cause(printed: str) -> str:
    """Say what the last words of an allocation usually mean; nothing if they are new to us."""
    return next((cause for pattern, cause in _CAUSES if re.search(pattern, printed)), "")


def explain(what: str, printed: str, *, opened: bool) -> str:
    """Put together what happened, what was printed, and what to do."""
    lines = [what + (f"; it printed:\n{printed}" if printed else ", and printed nothing")]
    cause = likely_cause(printed)
    if not cause and opened:
        cause = likely_cause("does not answer")
    if cause:
        lines.append(f"likely cause: {cause}")
    return "\n".join(lines)
