"""From what files and options say to a Site whose every value has an origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import NODEFAULT, Struct, structs

from tbss_hpc.core.site import KEYS, Problem, Site, complain, default_workers, key_of, problems
from tbss_hpc.schedulers import slurm
from tbss_hpc.sites.finding import candidates, find_file
from tbss_hpc.sites.reading import Value, read_texts

DEFAULT = "default"


class Resolved(Struct, frozen=True):
    """A site, and where each of its values comes from."""

    site: Site
    origins: dict[str, str]  #: by key, as site files write it: `file:line`, `--option`, `default`


def load_site(  # noqa: PLR0913 - all that a site can come from, each by its name
    *,
    scheduler: str | None,
    named: Path | None,
    options: Mapping[str, str],
    environ: Mapping[str, str],
    cwd: Path,
    home: Path,
) -> Resolved:
    """Find the site file that counts, and put what was typed above it.

    options -- what was typed for single keys, as text: `{"queue": "short"}`.

    Raises UsageError for a file or options that cannot be used.
    """
    typed = {key_of(key): text for key, text in options.items()}
    if scheduler is not None:
        typed["scheduler"] = scheduler
    above = read_texts(typed, "--{key}")
    chosen = str(above["scheduler"].value) if "scheduler" in above else None
    file = find_file(chosen, named, candidates(environ, cwd, home))
    return resolve([file.values, above])


def resolve(layers: Sequence[Mapping[str, Value]]) -> Resolved:
    """Take each value from the last layer that has it, and the default where none does.

    Raises UsageError if the values do not go together.
    """
    given: dict[str, Value] = {}
    for layer in layers:
        given.update(layer)
    scheduler = given.get("scheduler", Value("local", DEFAULT))
    values = {**_defaults(str(scheduler.value)), "scheduler": scheduler, **given}
    fields = {key.replace("-", "_"): value.value for key, value in values.items()}
    resolved = Resolved(
        Site(**fields),  # type: ignore[arg-type]  # the readers in `fields` made the right types
        {key: values[key].origin for key in KEYS},
    )
    complain([*problems(resolved.site), *_dialect_problems(resolved.site)], resolved.origins)
    return resolved


def _defaults(scheduler: str) -> dict[str, Value]:
    own = {key_of(f.name): Value(f.default, DEFAULT) for f in structs.fields(Site)}
    own = {key: value for key, value in own.items() if value.value is not NODEFAULT}
    return {**own, "workers": Value(default_workers(scheduler), DEFAULT)}


def _dialect_problems(site: Site) -> Iterable[Problem]:
    """Find what only the scheduler's own dialect can tell."""
    return slurm.directive_problems(site) if site.scheduler == "slurm" else ()
