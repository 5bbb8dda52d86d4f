"""Sites, as a person asks about them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tbss_hpc.core.site import slots
from tbss_hpc.sites import Resolved, as_yaml, load_site


def show_site(scheduler: str | None, named: Path | None, environ: Mapping[str, str]) -> str:
    """Write down the site that counts here, each value with its origin."""
    return as_yaml(load_here(scheduler, named, environ))


def check_site(file: Path) -> str:
    """Check a site file. Raises UsageError with everything that is wrong with it."""
    site = load_here(None, file, {}).site
    if site.cores is None:
        return f"{file} is a good site file for {site.scheduler}."
    return (
        f"{file} is a good site file for {site.scheduler}: "
        f"{slots(site)} commands at a time in each of {site.workers} allocations."
    )


def load_here(
    scheduler: str | None,
    named: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, str] | None = None,
) -> Resolved:
    """Find the site that counts in this folder, for this user; options win."""
    return load_site(
        scheduler=scheduler,
        named=named,
        options=options or {},
        environ=environ,
        cwd=Path.cwd(),
        home=Path.home(),
    )
