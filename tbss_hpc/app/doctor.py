"""`doctor`: looks at everything that a run leans on before it is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from tbss_hpc.app.doctor_files import Place, existing, room_findings
from tbss_hpc.app.doctor_host import logout_finding
from tbss_hpc.app.doctor_node import Errand, visit_node
from tbss_hpc.app.doctor_probe import Say
from tbss_hpc.app.doctor_slurm import PROBE_SECONDS, Looked, look_at_slurm
from tbss_hpc.app.planning import Wishes, make_plan
from tbss_hpc.app.prepare import with_cores
from tbss_hpc.app.sites import load_here
from tbss_hpc.app.work import Source, Work, find_work
from tbss_hpc.core.finding import About, Finding, bad, good, skipped
from tbss_hpc.core.plan import Plan
from tbss_hpc.core.room import run_needs, study_needs
from tbss_hpc.core.site import Site, slots
from tbss_hpc.core.units import format_memory, in_words
from tbss_hpc.errors import ExitCode, TbssHpcError
from tbss_hpc.tbss.study import find_study

_ABOUT = {ExitCode.FILES: About.FILES, ExitCode.CLUSTER: About.CLUSTER}


class Request(Struct, frozen=True):
    """What was typed."""

    source: str | None  #: None: the study here, if there is one
    scheduler: str | None
    site: Path | None
    runs: Path
    probe: bool
    patience_seconds: float


class Patient(Struct, frozen=True):
    """Site and work, as far as they could be read."""

    site: Site
    work: Work | None
    plan: Plan | None

    @property
    def walltime(self) -> float:
        """Give the seconds of the allocations that would be asked for."""
        planned = self.plan.shape.walltime_seconds if self.plan is not None else None
        return planned or self.site.walltime or 0.0


def examine(request: Request, environ: Mapping[str, str], say: Say) -> Iterator[Finding]:
    """Look at one thing after the other, and give what was found as soon as it is known."""
    try:
        site, notes = with_cores(load_here(request.scheduler, request.site, environ).site, environ)
    except TbssHpcError as error:
        yield from (_complaint(error), skipped(About.SITE, "Nothing else was looked at."))
        return
    yield good(About.SITE, f"The site is in order: {_in_short(site)}.")
    yield from (skipped(About.SITE, note) for note in notes)
    patient, about_work = _read_work(request, site, environ)
    yield from about_work
    looked = _look_at_scheduler(patient, environ)
    yield from looked.findings
    yield logout_finding(environ)
    yield from room_findings(_places(request, patient), environ)
    if not request.probe:
        yield skipped(About.CLUSTER, "No node was looked at, because of --no-probe.")
    elif not looked.probe_seconds:
        yield skipped(About.CLUSTER, "No node was looked at: mend the above first.")
    else:
        yield from visit_node(_errand(request, patient, looked.probe_seconds), say)


def _complaint(error: TbssHpcError) -> Finding:
    about = _ABOUT.get(error.exit_code, About.SITE)
    return bad(about, error.what, why=error.why, fix=error.fix)


def _in_short(site: Site) -> str:
    text = f"{site.scheduler}, {slots(site)} commands at a time in each of {_counted(site.workers)}"
    if site.walltime is not None and site.memory is not None:
        text += (
            f" of {in_words(site.walltime)}, {site.cores} cores and {format_memory(site.memory)}"
        )
    return text


def _counted(allocations: int) -> str:
    return "1 allocation" if allocations == 1 else f"{allocations} allocations"


# -- the work -----------------------------------------------------------------------------------


def _read_work(
    request: Request, site: Site, environ: Mapping[str, str]
) -> tuple[Patient, list[Finding]]:
    nothing = Patient(site, None, None)
    if request.source is None and find_study(Path()) is None:
        text = "No study was looked at: none was named, and there is none here."
        return nothing, [skipped(About.SITE, text)]
    try:
        work = find_work(Source(request.source or "."), environ)
        if work.study is None and site.scheduler != "local":
            # Only `submit` is told how long a command takes; without that there is no plan.
            return Patient(site, work, None), [good(About.SITE, f"The work: {work.what}.")]
        plan = make_plan(work, site, Wishes())
    except TbssHpcError as error:
        return nothing, [_complaint(error)]
    return Patient(site, work, plan), [good(About.SITE, f"The work: {_planned(work, plan)}.")]


def _planned(work: Work, plan: Plan) -> str:
    engine = f" with {work.engine.fingerprint}" if work.engine is not None else ""
    return f"{work.what}{engine}, {plan.todo} to do in {_counted(plan.allocations)}"


# -- the rest -----------------------------------------------------------------------------------


def _look_at_scheduler(patient: Patient, environ: Mapping[str, str]) -> Looked:
    match patient.site.scheduler:
        case "slurm":
            return look_at_slurm(patient.site, patient.walltime, environ)
        case "local":
            return Looked([], PROBE_SECONDS)
        case other:
            text = f"doctor does not ask {other} about its queues and limits."
            return Looked([skipped(About.CLUSTER, text)], PROBE_SECONDS)


def _places(request: Request, patient: Patient) -> list[Place]:
    work, plan = patient.work, patient.plan
    todo = plan.todo if plan is not None else len(work.commands) if work is not None else 0
    allocations = plan.submissions if plan is not None else patient.site.workers
    runs = Place("runs", existing(request.runs), run_needs(todo, allocations))
    if work is None or work.study is None or work.engine is None:
        return [runs]
    needs = study_needs(todo, work.engine.name, work.voxels)
    return [Place("the study", Path(work.study.fa), needs), runs]


def _errand(request: Request, patient: Patient, walltime: float) -> Errand:
    work = patient.work
    study = work.study if work is not None else None
    engine = work.engine if work is not None else None
    return Errand(
        site=patient.site,
        runs=request.runs,
        patience_seconds=request.patience_seconds,
        walltime=walltime,
        files=(str(Path(study.fa, study.images[0])),) if study is not None else (),
        folders=(study.fa,) if study is not None else (),
        program=engine.program if engine is not None else "",
        needs_fsl=engine.name == "fsl" if engine is not None else None,
    )
