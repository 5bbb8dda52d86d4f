"""This host, where a controller would live: what ends processes when their owner logs out."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Mapping
from pathlib import Path

from tbss_hpc.app.doctor_ask import ask
from tbss_hpc.core.finding import About, Finding, bad, good, unknown

#: There while systemd is in charge of the machine (sd_booted(3)).
_SYSTEMD = Path("/run/systemd/system")
_KILLS = (
    *("busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1"),
    *("org.freedesktop.login1.Manager", "KillUserProcesses"),
)


def logout_finding(environ: Mapping[str, str]) -> Finding:
    """Say whether a controller would live on after its user has logged out."""
    if not _SYSTEMD.is_dir() or shutil.which("loginctl") is None:
        return good(About.CLUSTER, "No systemd here that would end processes at logout.")
    kills = ask(_KILLS, environ).stdout.split()
    if kills == ["b", "false"]:
        return good(About.CLUSTER, "A run goes on when you log out (KillUserProcesses=no).")
    fix = (
        "start the run inside a batch job, with --foreground; or, where `loginctl enable-linger` is"
        "\nallowed, with `systemd-run --user --scope tbss-hpc submit …`; tmux alone does not help"
    )
    if kills != ["b", "true"]:
        text = "Whether a run goes on when you log out could not be asked."
        return unknown(About.CLUSTER, text, fix=f"if it does not, {fix}")
    return bad(
        About.CLUSTER,
        "This host ends all your processes when you log out, and a run's controller with them.",
        why=f"KillUserProcesses=yes; {_linger(environ)}",
        fix=fix,
    )


def _linger(environ: Mapping[str, str]) -> str:
    argv = ("loginctl", "show-user", getpass.getuser(), "--property=Linger")
    return ask(argv, environ).stdout.strip() or "Linger is not known"
