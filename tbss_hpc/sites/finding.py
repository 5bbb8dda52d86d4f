"""Where site files are looked for, and which one counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tbss_hpc.core.site import SCHEDULERS
from tbss_hpc.errors import UsageError
from tbss_hpc.sites.reading import SiteFile, read_site

VARIABLE = "TBSS_HPC_SITE"
SYSTEM_FOLDER = Path("/etc/tbss-hpc")


def packaged_folder() -> Path:
    """Give the folder of the site files that come with tbss-hpc."""
    inside = Path(__file__).with_name("configs")
    # An editable install has them where people see them: at the top of the checkout.
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "configs"


def packaged(scheduler: str) -> Path:
    """Give the site file that comes with tbss-hpc for a scheduler. Raises UsageError."""
    path = packaged_folder() / f"{scheduler}.yaml"
    if scheduler in SCHEDULERS and path.is_file():
        return path
    known = [name for name in SCHEDULERS if (packaged_folder() / f"{name}.yaml").is_file()]
    raise UsageError(
        f"No site file for the scheduler {scheduler!r} comes with tbss-hpc.",
        fix=f"choose one of {', '.join(known)}, or name your own file with --site",
    )


def candidates(
    environ: Mapping[str, str], cwd: Path, home: Path, system: Path = SYSTEM_FOLDER
) -> list[Path]:
    """List the site files that were not named, the most particular first."""
    config = environ.get("XDG_CONFIG_HOME", "")
    # The specification of these folders: a relative one is to be ignored.
    user = Path(config) if config.startswith("/") else home / ".config"
    usual = [cwd / "tbss-hpc.yaml", user / "tbss-hpc" / "site.yaml", system / "site.yaml"]
    # Whoever sets the variable expects the file to be there.
    named = [cwd / environ[VARIABLE]] if environ.get(VARIABLE) else []
    return [*named, *(path for path in usual if _exists(path))]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # not to be entered: reading it will say so
        return True


def find_site(
    scheduler: str | None,
    named: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    home: Path,
) -> Path:
    """Say which site file counts; see `find_file`."""
    return find_file(scheduler, named, candidates(environ, cwd, home)).path


def find_file(scheduler: str | None, named: Path | None, found: list[Path]) -> SiteFile:
    """Read the site file that counts.

    A file that was named with --site has to fit --scheduler. One that merely was found and is for
    another scheduler is passed over: who types `--scheduler local` on a cluster means it. Raises
    UsageError.
    """
    if named is not None:
        return _fitting(read_site(named), scheduler)
    for path in found:
        file = read_site(path)
        if scheduler is None or file.scheduler in {None, scheduler}:
            return file
    return read_site(packaged(scheduler or "local"))


def _fitting(file: SiteFile, scheduler: str | None) -> SiteFile:
    if scheduler is None or file.scheduler in {None, scheduler}:
        return file
    raise UsageError(
        f"The site file {file.path} is for {file.scheduler}, and --scheduler says {scheduler}.",
        why=f"{file.values['scheduler'].origin}: scheduler: {file.scheduler}",
        fix="leave out one of --site and --scheduler, or name a file for that scheduler",
    )
