"""One node, visited for `doctor`: what to ask it, how to get there, what its answer means."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, structs

from tbss_hpc import __version__
from tbss_hpc.app.doctor_ears import Ears
from tbss_hpc.app.doctor_probe import Heard, Say, Visit, send_probe
from tbss_hpc.app.planning import fresh_token, shape_of
from tbss_hpc.core.decide import allocation_name
from tbss_hpc.core.diagnosis import Expected, Way, node_findings
from tbss_hpc.core.finding import About, Finding, bad, skipped
from tbss_hpc.core.plan import Shape
from tbss_hpc.core.probe import Question
from tbss_hpc.core.site import Site
from tbss_hpc.errors import ClusterError, FilesError, TbssHpcError
from tbss_hpc.store.dask_files import keep_dask_to_itself
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.network import addresses

#: What a probe asks for: little, so that it starts soon.
PROBE_BYTES = 1 << 30


class Errand(Struct, frozen=True):
    """Why a node is visited."""

    site: Site
    runs: Path
    patience_seconds: float
    walltime: float  #: seconds that the probe may ask for, at most
    files: tuple[str, ...]  #: of the study, that a node should see
    folders: tuple[str, ...]  #: of the study, that a node should be able to write
    program: str  #: that the study's commands start; empty without a study
    needs_fsl: bool | None


def visit_node(errand: Errand, say: Say) -> Iterator[Finding]:
    """Send a probe, and give what it found; its folder is removed again."""
    token = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tbss-hpc-")))
        keep_dask_to_itself(scratch)
        try:
            run = stack.enter_context(_folder(errand.runs, token))
            question = _question(errand, run, token)
            heard = asyncio.run(_visit(errand, run, question, say))
        except asyncio.CancelledError:  # by a signal; all has been tidied up
            raise KeyboardInterrupt from None
        except FilesError as error:
            yield bad(About.FILES, error.what, why=error.why, fix=error.fix)
            return
        except TbssHpcError as error:
            yield bad(About.CLUSTER, error.what, why=error.why, fix=error.fix)
            return
    yield from heard.trouble
    if heard.answer is None:
        yield skipped(About.CLUSTER, "Nothing is known of the nodes: no probe was heard.")
        return
    expected = Expected(errand.site, __version__, question.files, errand.program, errand.needs_fsl)
    yield from node_findings(expected, heard.answer, Way(heard.clock_ahead, heard.called_back))


@contextlib.contextmanager
def _folder(runs: Path, token: str) -> Iterator[RunFolder]:
    """Make a hidden folder beside the runs, for as long as the probe lives.

    Raises FilesError.
    """
    made = not runs.exists()
    run = RunFolder(runs / f".doctor-{token[:8]}")
    try:
        runs.mkdir(parents=True, exist_ok=True)
        run.root.mkdir(mode=0o700)
        run.allocations.mkdir()
    except OSError as error:
        raise FilesError(
            "No folder can be made for runs.",
            why=f"{error.filename}: {error.strerror}",
            fix="work in a folder that you can write, or name one with --runs",
        ) from error
    try:
        yield run
    finally:
        shutil.rmtree(run.root, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                runs.rmdir()


def _question(errand: Errand, run: RunFolder, token: str) -> Question:
    site = errand.site
    witness = run.root / "witness"
    witness.write_text(token)
    files = (str(witness), *errand.files)
    return Question(
        token=token,
        endpoints=(),
        ports=site.ports,
        setup=site.setup,
        wrap=tuple(shlex.split(site.wrap)) if site.wrap is not None else (),
        programs=(errand.program,) if errand.program else (),
        files={path: Path(path).stat().st_size for path in files},
        folders=errand.folders,
        scratch=site.scratch,
    )


async def _visit(errand: Errand, run: RunFolder, question: Question, say: Say) -> Heard:
    # Both import Dask.
    from tbss_hpc.cluster.addresses import contact_address  # noqa: PLC0415
    from tbss_hpc.cluster.batch import probe_command  # noqa: PLC0415
    from tbss_hpc.cluster.batches import batch_for  # noqa: PLC0415

    site = errand.site
    local = site.scheduler == "local"
    main = contact_address(site.interface, loopback=local)
    ears = Ears(question.token)
    try:
        await ears.open(_places(main, only=local), site.ports)
    except OSError as error:
        raise ClusterError(
            "No port is free for the controller.",
            why=f"{main}, ports {site.ports or 'of any number'}: {error.strerror}",
            fix="allow more `ports` in the site file, or end what uses them",
        ) from error
    visit = Visit(
        run=run,
        batch=batch_for(run, site, _small(site, errand.walltime), probe_command),
        scheduler=site.scheduler,
        name=allocation_name(fresh_token(site.name), epoch=0, number=1),
        patience_seconds=errand.patience_seconds,
        interface=site.interface,
    )
    try:
        asked = structs.replace(question, endpoints=tuple(ears.endpoints))
        return await send_probe(visit, asked, ears, say)
    finally:
        ears.close()


def _places(main: str, *, only: bool) -> list[tuple[str, str]]:
    """List where to listen: first where a controller would, then wherever else it could."""
    known = addresses()
    name = next((name for name, address in known.items() if address == main), "")
    others = [
        (other, address) for other, address in known.items() if address != main and other != "lo"
    ]
    return [(name, main), *([] if only else others)]


def _small(site: Site, longest: float) -> Shape:
    """Make an allocation that is like the site's, and small."""
    memory = None if site.memory is None else min(site.memory, PROBE_BYTES)
    walltime = None if site.walltime is None else min(site.walltime, longest)
    shape = shape_of(site, 1, walltime)
    return structs.replace(shape, cores=1, memory_bytes=memory)
