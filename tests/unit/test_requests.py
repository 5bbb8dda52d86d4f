"""Requests: left as files, obeyed in order, taken away once."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.requests import Request, ask, pending, take_away


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.create()
    return run


def asked(run: RunFolder) -> list[Request]:
    return [request for _path, request in pending(run)]


def test_requests_are_read_in_the_order_in_which_they_were_made(run: RunFolder) -> None:
    ask(run, "retry")
    ask(run, "cancel")

    assert [request.kind for request in asked(run)] == ["retry", "cancel"]


def test_a_request_says_who_asks(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "me")
    ask(run, "cancel")

    assert asked(run) == [Request("cancel", "me")]


def test_a_user_without_a_name_may_ask(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError(1234)

    monkeypatch.setattr(getpass, "getuser", nobody)
    ask(run, "cancel")

    assert asked(run)[0].by.startswith("user ")


def test_what_was_taken_away_is_asked_no_more(run: RunFolder) -> None:
    ask(run, "cancel")
    first = pending(run)
    ask(run, "retry")
    take_away(first)
    take_away(first)

    assert [request.kind for request in asked(run)] == ["retry"]


def test_a_half_written_request_is_not_seen(run: RunFolder) -> None:
    (run.requests / ".1-2-cancel.json.3.tmp").write_text("{")

    assert pending(run) == []


def test_a_request_that_this_version_does_not_know_waits_for_one_that_does(
    run: RunFolder,
) -> None:
    path = run.requests / "1-2-pause.json"
    path.write_text('{"kind":"pause","by":"me"}')
    ask(run, "cancel")

    assert [request.kind for request in asked(run)] == ["cancel"]
    assert path.exists()
