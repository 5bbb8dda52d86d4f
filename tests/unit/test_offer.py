"""controller.json: who controls a run, and whether it still does."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from msgspec import structs

from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.offer import Offer, controller_alive, read_offer, write_offer
from tbss_hpc.store.process import process_identity


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.create()
    return run


@pytest.fixture
def offer() -> Offer:
    return Offer(
        epoch=1,
        host=socket.gethostname(),
        pid=os.getpid(),
        process=process_identity(os.getpid()),
        version="0.1",
        address="tls://127.0.0.1:1",
        dashboard="http://127.0.0.1:2/status?token=x",
        started_at=1.0,
    )


def test_before_the_first_controller_there_is_no_offer(run: RunFolder) -> None:
    assert read_offer(run) is None


def test_an_offer_is_read_as_it_was_written(run: RunFolder, offer: Offer) -> None:
    write_offer(run, offer)
    write_offer(run, structs.replace(offer, over="finished"))

    assert read_offer(run) == structs.replace(offer, over="finished")


def test_an_offer_is_for_its_owner_because_it_holds_the_token(run: RunFolder, offer: Offer) -> None:
    write_offer(run, offer)

    assert run.controller.stat().st_mode & 0o777 == 0o600


def test_fields_of_a_newer_version_are_skipped(run: RunFolder, offer: Offer) -> None:
    write_offer(run, offer)
    text = run.controller.read_text().replace("{", '{"mood": "sad",', 1)
    run.controller.write_text(text)

    assert read_offer(run) == offer


def test_this_process_is_alive(offer: Offer) -> None:
    assert controller_alive(offer) is True


def test_a_controller_whose_number_another_process_has_is_dead(offer: Offer) -> None:
    pid, _started, boot = offer.process.split(":")

    assert controller_alive(structs.replace(offer, process=f"{pid}:1:{boot}")) is False


def test_nobody_can_tell_whether_a_controller_on_another_host_lives(offer: Offer) -> None:
    assert controller_alive(structs.replace(offer, host="elsewhere")) is None
