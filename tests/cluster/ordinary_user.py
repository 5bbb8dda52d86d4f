"""A throw-away account, and a Python that it may run: most people on a cluster are not root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests import processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class OrdinaryUser:
    """An account without any rights, with a home folder that is removed with it."""

    name: str
    uid: int
    gid: int
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a login would have set."""
        path = "/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.home), "USER": self.name, "LOGNAME": self.name}

    def run(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this user in the home folder, whatever comes of it."""
        return subprocess.run(
            argv,
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            umask=0o022,
            cwd=self.home,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )


@contextmanager
def ordinary_user() -> Iterator[OrdinaryUser]:
    """Make an account; at the end, kill what it still runs and remove it."""
    # Named after this process: other test runs on this machine make theirs at the same time.
    name = f"tbsshpc-{os.getpid()}"
    home = Path(tempfile.mkdtemp(prefix="tbss-home-"))
    try:
        _accounts("useradd", "--home-dir", str(home), "--shell", "/bin/bash", name)
        entry = pwd.getpwnam(name)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        home.chmod(0o755)
        yield OrdinaryUser(name, entry.pw_uid, entry.pw_gid, home)
        processes.kill_all(lambda: processes.owned_by(entry.pw_uid))
    finally:
        _accounts("userdel", "--force", name)
        shutil.rmtree(home)


def _accounts(*argv: str) -> None:
    """Change /etc/passwd, whose lock another test run may hold for a moment."""

    def succeeds() -> bool:
        return subprocess.run(argv, capture_output=True, check=False).returncode in {0, _GONE}

    if not processes.until(succeeds):
        message = f"This command fails again and again: {' '.join(argv)}"
        raise RuntimeError(message)


#: What userdel says of an account that does not exist.
_GONE = 6


def obstacle() -> str | None:
    """Say in a sentence why no account can be made here; None when it can."""
    if os.geteuid() != 0:
        return "Making a throw-away account needs root."
    if not shutil.which("useradd"):
        return "Making a throw-away account needs useradd: apt-get install passwd"
    return None


def python_for_everybody() -> Path | None:
    """Find a Python, new enough, that every user of this machine may run."""
    for candidate in (sys.base_prefix + "/bin/python3", "/usr/bin/python3"):
        python = Path(candidate).resolve()
        if python.exists() and open_to_all(python) and _new_enough(python):
            return python
    return None


def open_to_all(path: Path) -> bool:
    """Say whether everybody may enter all folders above this path and read it."""
    needed = [(parent, stat.S_IXOTH) for parent in path.parents] + [(path, stat.S_IROTH)]
    return all(one.stat().st_mode & bit for one, bit in needed)


def _new_enough(python: Path) -> bool:
    question = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    return (
        subprocess.run([python, "-c", question], capture_output=True, check=False).returncode == 0
    )


def install_for_everybody(python: Path, folder: Path) -> Path:
    """Install a copy of this project into a new environment; give its Python.

    A copy, because the checkout may lie where ordinary users cannot look. What it needs comes
    out of pip's cache when `make test` has just installed the same.
    """
    subprocess.run([python, "-m", "venv", folder], check=True, timeout=300)
    inside = folder / "bin" / "python"
    install = [str(inside), "-m", "pip", "install", "--quiet", "--no-compile", f"{ROOT}[engine]"]
    reply = subprocess.run(
        install, umask=0o022, capture_output=True, text=True, timeout=1200, check=False
    )
    if reply.returncode != 0:
        message = f"pip could not install the project for everybody:\n{reply.stderr}"
        raise RuntimeError(message)
    return inside
