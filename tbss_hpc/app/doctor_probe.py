"""The one small allocation of `doctor`: submitted, waited for, heard, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import assert_never

import msgspec
from msgspec import Struct, structs

from tbss_hpc.app.causes import likely_cause
from tbss_hpc.app.doctor_ears import Ears, call_back
from tbss_hpc.cluster.batch import Batch, Refused, Unanswered, tail
from tbss_hpc.core.finding import About, Finding, bad
from tbss_hpc.core.probe import Answer, Question
from tbss_hpc.core.units import in_words
from tbss_hpc.schedulers.answers import DontKnow, Gone, Seen
from tbss_hpc.schedulers.dialects import dialect_of
from tbss_hpc.store.atomic import replace_file
from tbss_hpc.store.folder import RunFolder

#: Seconds between looks for the answer, which is a file.
LOOK_SECONDS = 0.25
#: Seconds between questions to the queue, at first and at most.
ASK_SECONDS = 1.0
ASK_SECONDS_AT_MOST = 15.0
#: Seconds that a file needs to be seen on another host, once its writer has ended.
FILE_SECONDS = 5.0
#: Seconds that a probe which has been heard needs to end by itself.
END_SECONDS = 10.0

Say = Callable[[str], None]


class Heard(Struct, frozen=True):
    """What came of a probe."""

    answer: Answer | None = None  #: as far as it went
    trouble: tuple[Finding, ...] = ()
    waited: float = 0.0  #: seconds from its submission to its start
    clock_ahead: float | None = None  #: seconds of the node's clock before ours; None: not heard
    #: Where we called the node back, and what went wrong (empty: nothing); None: we could not.
    called_back: tuple[str, str] | None = None


class Visit(Struct, frozen=True):
    """All that a probe needs."""

    run: RunFolder  #: a folder of its own
    batch: Batch
    scheduler: str
    name: str
    patience_seconds: float
    interface: str | None  #: the site's


async def send_probe(visit: Visit, question: Question, ears: Ears, say: Say) -> Heard:
    """Submit a probe and hear it; whatever happens, nothing of it is left in the queue."""
    _cancel_on_signals()
    replace_file(visit.run.question, msgspec.json.encode(question), mode=0o600)
    watch = _Watch(visit, question, say)
    try:
        heard = await watch.listen()
        if heard.answer is not None:
            called = await _call_back(visit, heard.answer, question.token)
            heard = structs.replace(heard, called_back=called, clock_ahead=ears.clock_ahead)
    except BaseException:
        await watch.make_an_end()
        raise
    # One that could not be called would linger.
    heard_out = heard.called_back is not None and not heard.called_back[1]
    left = await watch.make_an_end(patient=heard_out)
    return structs.replace(heard, trouble=(*heard.trouble, *left))


def _cancel_on_signals() -> None:
    """Let a closed terminal end this as Ctrl-C does: with nothing left in the queue."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if task is not None:
            loop.add_signal_handler(number, task.cancel)


class _Watch:
    """Follows one probe through the queue."""

    def __init__(self, visit: Visit, question: Question, say: Say) -> None:
        self._visit = visit
        self._token = question.token
        self._say = say
        self._said = ""
        self._submission: asyncio.Task[str] | None = None
        self._native_id = ""
        self._begin = time.monotonic()
        self._seen: Seen | Gone | DontKnow = DontKnow("it was not asked yet")
        self._started_after: float | None = None

    async def listen(self) -> Heard:
        """Submit, and wait for the answer or the end."""
        visit = self._visit
        self._begin = time.monotonic()
        self._submission = asyncio.create_task(visit.batch.submit(visit.name))
        try:
            # Ctrl-C must not leave a submission on its way that nobody will cancel.
            self._native_id = await asyncio.shield(self._submission)
        except Refused as refused:
            return Heard(trouble=(self._refusal(str(refused)),))
        except Unanswered as unanswered:
            return Heard(trouble=(self._no_answer(str(unanswered)),))
        if visit.scheduler != "local":
            patience = in_words(visit.patience_seconds)
            self._tell(f"probe {self._native_id} was submitted; waiting up to {patience} for it")
        answer = await self._wait()
        waited = self._started_after or 0.0
        if answer is not None and not answer.stage:
            return Heard(answer=answer, waited=waited)
        return Heard(answer=answer, waited=waited, trouble=(self._silence(answer),))

    async def _wait(self) -> Answer | None:
        pause, ask_at, give_up_at = ASK_SECONDS, 0.0, self._visit.patience_seconds
        answer = None
        while (passed := time.monotonic() - self._begin) < give_up_at:
            answer = self._read() or answer
            if answer is not None and not answer.stage:
                break
            if passed >= ask_at:
                await self._ask()
                ask_at, pause = passed + pause, min(pause * 1.3, ASK_SECONDS_AT_MOST)
                if isinstance(self._seen, Gone):
                    give_up_at = min(give_up_at, passed + FILE_SECONDS)
                    ask_at = give_up_at
            await asyncio.sleep(LOOK_SECONDS)
        return answer

    def _read(self) -> Answer | None:
        root = self._visit.run.root
        with contextlib.suppress(OSError, msgspec.DecodeError):
            list(os.scandir(root))  # has an NFS client look again
            answer = msgspec.json.decode(self._visit.run.answer.read_bytes(), type=Answer)
            if answer.token == self._token:
                if self._started_after is None:
                    self._started_after = time.monotonic() - self._begin
                return answer
        return None

    async def _ask(self) -> None:
        name = self._visit.name
        reply = await self._visit.batch.query({name: self._native_id})
        self._seen = reply if isinstance(reply, DontKnow) else reply[name]
        match self._seen:
            case Seen(state=state, reason=reason, node=node):
                if node and self._started_after is None:
                    self._started_after = time.monotonic() - self._begin
                words = dialect_of(self._visit.scheduler).in_words(state, reason)
                self._tell(f"probe {self._native_id}: {words}")
            case Gone():
                pass
            case DontKnow(why=why):
                self._tell(f"probe {self._native_id}: the queue does not answer: {why}")
            case other:
                assert_never(other)

    def _tell(self, text: str) -> None:
        if text != self._said and self._visit.scheduler != "local":
            self._said = text
            self._say(text)

    # -- what went wrong ------------------------------------------------------------------------

    def _refusal(self, words: str) -> Finding:
        fix = dialect_of(self._visit.scheduler).refusal_fix(words)
        text = f"{_name_of(self._visit.scheduler)} refused the probe."
        return bad(About.CLUSTER, text, why=words, fix=fix)

    def _no_answer(self, words: str) -> Finding:
        dialect = dialect_of(self._visit.scheduler)
        text = f"{_name_of(self._visit.scheduler)} did not say whether it took the probe."
        fix = dialect.refusal_fix(words) or "try again when the scheduler is less busy"
        return bad(About.CLUSTER, text, why=words, fix=fix)

    def _silence(self, answer: Answer | None) -> Finding:
        patience = in_words(self._visit.patience_seconds)
        if answer is not None:
            what = f"The probe did not come further than {answer.stage} on {answer.node}."
            fix = f"try that by hand on a node, or wait longer than {patience} with --patience"
            return bad(About.CLUSTER, what, why=self._printed(), fix=fix)
        match self._seen:
            case Gone(state=state):
                return self._death(state)
            case Seen(node="", state=state, reason=reason):
                words = dialect_of(self._visit.scheduler).in_words(state, reason)
                return bad(
                    About.CLUSTER,
                    f"The probe did not start within {patience}.",
                    why=words,
                    fix="wait longer with --patience, or come back when the queue is less full; if"
                    " the reason will not pass, mend it",
                )
            case Seen(node=node):
                what = f"The probe started on {node} and was not heard within {patience}."
                return bad(About.CLUSTER, what, why=self._printed(), fix=self._unseen())
            case DontKnow(why=why):
                what = f"The probe was not heard within {patience}, and the queue does not answer."
                return bad(About.CLUSTER, what, why=why, fix="try again when `squeue` answers")
            case other:
                assert_never(other)

    def _death(self, state: str) -> Finding:
        printed = self._printed()
        return bad(
            About.CLUSTER,
            "The probe ended on its node without an answer.",
            why=printed or f"it printed nothing; the queue says: {state}",
            fix=likely_cause(printed) or self._unseen(),
        )

    def _unseen(self) -> str:
        return (
            "see whether nodes see this folder and this Python under the same path:\n"
            f"{self._visit.run.root.parent}\n{sys.executable}"
        )

    def _printed(self) -> str:
        outputs = self._visit.run.outputs_of(self._visit.name)
        return tail(outputs[-1]).strip() if outputs else ""

    # -- the end --------------------------------------------------------------------------------

    async def make_an_end(self, *, patient: bool = False) -> list[Finding]:
        """See that the probe is gone from the queue; say if that cannot be done.

        patient -- it has said and heard all, and ends by itself.
        """
        if self._submission is None or isinstance(self._seen, Gone):
            return []
        with contextlib.suppress(Refused, Unanswered):  # either may be a lost yes
            self._native_id = await self._submission
        if patient and await self._has_gone():
            return []
        words = ""
        for _ in range(3):
            try:
                await self._visit.batch.cancel(self._visit.name, self._native_id)
            except Refused as refused:
                words = str(refused)
                await asyncio.sleep(ASK_SECONDS)
            else:
                # Its output lies in the folder that is removed next.
                await self._has_gone()
                return []
        what = f"The probe {self._native_id or self._visit.name} may still be in the queue."
        fix = f"cancel it: `scancel --name={self._visit.name}`"
        return [bad(About.CLUSTER, what, why=words, fix=fix)]

    async def _has_gone(self) -> bool:
        """Wait a little for the end of a probe that ends by itself, or was cancelled."""
        give_up = time.monotonic() + END_SECONDS
        while time.monotonic() < give_up:
            await self._ask()
            if isinstance(self._seen, Gone):
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False


async def _call_back(visit: Visit, answer: Answer, token: str) -> tuple[str, str] | None:
    """Call the node where a worker would listen: at the site's interface, or where it came from."""
    came_from = next((call.came_from for call in answer.calls if call.came_from), "")
    address = answer.addresses.get(visit.interface or "", came_from)
    if not address or not answer.listening:
        return None
    return address, await call_back(address, answer.listening, token)


def _name_of(scheduler: str) -> str:
    return {"slurm": "SLURM", "pbs": "PBS", "sge": "Grid Engine"}.get(scheduler, scheduler)
