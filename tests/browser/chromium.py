"""A headless Chromium, told what to do over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests import processes

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Quiet, and nobody but this host is asked for anything: other names resolve to nothing.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1400,900"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
BIG_PICTURE = 100 * 2**20


def find_chromium() -> str:
    """Find the program; skip the test where there is none, and fail it on CI."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        sentence = "Chromium is missing: `apt-get install chromium`."
        if os.environ.get("CI") == "true":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    return found


class Page:
    """One tab, and all that it asked for."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())
        #: Addresses of requests and web sockets; those that a page's own policy forbade apart.
        self.asked: dict[str, str] = {}
        self.forbidden: list[str] = []
        #: What came over web sockets.
        self.frames: list[str] = []
        #: What the page complained about.
        self.errors: list[str] = []

    async def start(self) -> Self:
        for domain in ("Network", "Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        return self

    async def open(self, address: str) -> None:
        await self.call("Page.navigate", url=address)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def evaluate(self, script: str) -> Any:  # noqa: ANN401 - whatever JavaScript says
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, condition: str) -> Any:  # noqa: ANN401 - whatever JavaScript says
        """Wait until something is true of the page; give it."""
        end = asyncio.get_running_loop().time() + processes.PATIENCE_SECONDS
        while not (found := await self.evaluate(condition)):
            late = asyncio.get_running_loop().time() > end
            assert not late, f"never true: {condition}\n{self.errors}"
            await asyncio.sleep(0.1)
        return found

    async def screenshot(self, path: Path) -> bytes:
        answer = await self.call("Page.captureScreenshot", format="png")
        picture = base64.b64decode(answer["data"])
        path.write_bytes(picture)  # noqa: ASYNC240 - a small file, and nobody else waits
        return picture

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.write_message(json.dumps(message))
        async with asyncio.timeout(processes.PATIENCE_SECONDS):
            answer = await future
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    async def _read(self) -> None:
        while (text := await self._socket.read_message()) is not None:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, said: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.asked[said["requestId"]] = said["request"]["url"]
            case "Network.webSocketCreated":
                self.asked[said["requestId"]] = said["url"]
            case "Network.loadingFailed" if said.get("blockedReason") == "csp":
                self.forbidden.append(self.asked.pop(said["requestId"]))
            case "Network.webSocketFrameReceived":
                self.frames.append(said["response"]["payloadData"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(said["exceptionDetails"]))
            case "Log.entryAdded" if said["entry"]["level"] == "error":
                self.errors.append(str(said["entry"]))
            case _:
                pass


@asynccontextmanager
async def new_page(folder: Path) -> AsyncIterator[Page]:
    """Start a browser with a profile of its own, and end it afterwards."""
    profile = folder / "profile"
    log = (folder / "chromium.log").open("wb")
    browser = subprocess.Popen(  # noqa: ASYNC220 - returns as soon as it has forked
        [
            *(find_chromium(), *OPTIONS, f"--user-data-dir={profile}"),
            *("--remote-debugging-port=0", "about:blank"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "HOME": str(folder)},
    )
    try:
        port_file = profile / "DevToolsActivePort"
        assert await asyncio.to_thread(processes.until, lambda: _has_a_line(port_file))
        port = port_file.read_text().split()[0]
        address = await asyncio.to_thread(_tab, f"http://127.0.0.1:{port}/json/list")
        socket = await websocket_connect(address, max_message_size=BIG_PICTURE)
        yield await Page(socket).start()
        socket.close()
    finally:
        children = list(processes.descendants(browser.pid))
        browser.kill()
        browser.wait()
        for child in children:
            processes.send(child, signal.SIGKILL)
        log.close()


def _has_a_line(path: Path) -> bool:
    return path.exists() and "\n" in path.read_text()


def _tab(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - our own browser
        tabs = json.load(answer)
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
