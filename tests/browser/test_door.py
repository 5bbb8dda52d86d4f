"""Nobody without the run's token sees anything, and nobody on another host hears anything."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import websocket_connect

from tests import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.conftest import Running

SENTENCE = "This page belongs to a tbss-hpc run."
ROUTES = (
    *(
        "/",
        "/status",
        "/workers",
        "/tasks",
        "/graph",
        "/individual-task-stream",
        "/individual-plots.json",
    ),
    *("/info/main/workers.html", "/info/logs.html", "/info/call-stacks/any.html"),
    *("/json/counts.json", "/json/identity.json", "/health", "/metrics", "/sitemap.json"),
    *("/statics/css/base.css", "/static/js/bokeh.min.js", "/no/such/page", "//status"),
    *("/status/ws", "/status/autoload.js", "/proxy/80/127.0.0.1/", "/api/v1/retire_workers"),
)
#: Of the routes above, those that a person with the token opens.
PAGES = ("/status", "/workers", "/individual-task-stream", "/info/main/workers.html", "/health")


class Reply(NamedTuple):
    code: int
    location: str
    cookies: str
    text: str


def ask(run: Running, path: str, method: str = "GET", **headers: str) -> Reply:
    connection = http.client.HTTPConnection(urlsplit(run.door).netloc, timeout=60)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        found = [answer.getheader(name, "") for name in ("Location", "Set-Cookie")]
        return Reply(answer.status, found[0] or "", found[1] or "", text)
    finally:
        connection.close()


def cookie(run: Running) -> str:
    return ask(run, f"/status?token={run.token}").cookies.partition(";")[0]


# -- the door ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ROUTES)
def test_nothing_is_shown_without_the_token(run: Running, path: str) -> None:
    reply = ask(run, path)

    assert (reply.code, reply.text.startswith(SENTENCE)) == (403, True)
    assert not reply.cookies


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_no_other_method_gets_in_even_with_the_token_in_the_address(
    run: Running, method: str
) -> None:
    assert ask(run, f"/status?token={run.token}", method).code == 403


@pytest.mark.parametrize("query", ["token=", "token=wrong", "token", "Token={token}", "t={token}"])
def test_a_wrong_token_is_none(run: Running, query: str) -> None:
    assert ask(run, f"/status?{query.format(token=run.token)}").code == 403


@pytest.mark.parametrize("value", ["", "wrong", "\xe4\xf6\xfc", '"', "{token}"])
def test_a_wrong_cookie_is_none(run: Running, value: str) -> None:
    name = cookie(run).partition("=")[0]

    reply = ask(run, "/status", Cookie=f"{name}={value.format(token=run.token)}")

    assert reply.code == 403


def test_the_token_becomes_a_cookie_and_leaves_the_address(run: Running) -> None:
    reply = ask(run, f"/status?token={run.token}")

    assert (reply.code, reply.location) == (302, "/status")
    assert "HttpOnly" in reply.cookies
    assert "SameSite=Lax" in reply.cookies
    assert run.token not in reply.cookies


@pytest.mark.parametrize("path", PAGES)
def test_with_the_cookie_pages_are_shown(run: Running, path: str) -> None:
    reply = ask(run, path, Cookie=cookie(run))

    assert reply.code == 200
    assert not reply.text.startswith(SENTENCE)


def test_even_with_the_cookie_no_request_is_handed_on_or_obeyed(run: Running) -> None:
    """Dask's proxy reaches other hosts, and its API ends workers: neither is served."""
    key = cookie(run)

    assert ask(run, "/proxy/80/127.0.0.1/", Cookie=key).code == 404
    assert ask(run, "/api/v1/retire_workers", "POST", Cookie=key).code == 404


def knock(run: Running, headers: dict[str, str]) -> str:
    """Open the web socket over which bokeh sends what it draws."""
    from tornado.httpclient import HTTPRequest  # noqa: PLC0415 - a name of the edge

    async def body() -> str:
        address = run.door.replace("http", "ws") + "/status/ws"
        try:
            socket = await websocket_connect(HTTPRequest(address, headers=headers))
        except HTTPClientError as error:
            return str(error.code)
        socket.close()
        return "open"

    return asyncio.run(body())


def test_the_web_socket_asks_for_the_cookie_too(run: Running) -> None:
    assert knock(run, {}) == "403"
    assert knock(run, {"Cookie": "tbss-hpc-1=wrong"}) == "403"
    assert knock(run, {"Cookie": cookie(run)}) == "open"


def test_only_the_owner_can_read_the_token(run: Running) -> None:
    folder = run.program.run_folder().resolve()
    offer = folder / "controller.json"

    assert run.token in offer.read_text()
    assert oct(offer.stat().st_mode)[-3:] == "600"
    assert oct(folder.stat().st_mode)[-3:] == "700"
    assert run.token not in (folder / "controller.log").read_text()


# -- who listens where ------------------------------------------------------------------------

LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
LISTENS = "0A"


def listeners() -> Iterator[tuple[str, str]]:
    """Give inode and address of every listening socket of this machine, from /proc/net."""
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            words = line.split()
            if words[3] == LISTENS:
                yield words[9], words[1]


def test_in_a_local_run_nothing_listens_but_on_loopback(run: Running) -> None:
    inodes = {
        opened.removeprefix("socket:[").removesuffix("]"): pid
        for pid in run.program.processes()
        for opened in processes.open_files(pid)
        if opened.startswith("socket:[")
    }
    found = [(inodes[inode], address) for inode, address in listeners() if inode in inodes]
    per_process = {pid: sum(one == pid for one, _ in found) for pid, _ in found}

    assert {address.partition(":")[0] for _, address in found} <= LOOPBACK
    # The controller: for workers, and the dashboard. The worker: for the controller.
    assert sorted(per_process.values()) == [1, 2]


def test_no_process_of_a_local_run_is_connected_to_another_host(run: Running) -> None:
    inodes = {
        opened.removeprefix("socket:[").removesuffix("]")
        for pid in run.program.processes()
        for opened in processes.open_files(pid)
        if opened.startswith("socket:[")
    }
    peers = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in (Path("/proc/net") / table).read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes and words[3] != LISTENS:
                peers.add(words[2].partition(":")[0])

    assert peers <= LOOPBACK
    assert peers
