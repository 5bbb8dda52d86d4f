"""A real run on this machine whose dashboard is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.local.conftest import leaving_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.program import Program


class Running(NamedTuple):
    """A run that goes on until the tests are over."""

    program: Program
    address: str  #: of the dashboard, with its token

    @property
    def door(self) -> str:
        """The address without path and token."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def token(self) -> str:
        return urlsplit(self.address).query.removeprefix("token=")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with leaving_nothing(tmp_path_factory.mktemp("run")) as program:
        # A short one again and again, so that the plots have something to show.
        lines = [*(f"sleep 0.{number % 10 + 1}" for number in range(2000)), "sleep 1000"]
        commands = program.write("commands", *lines)
        assert program("submit", commands, "--yes").code == 0
        status = program.until_running()
        yield Running(program, status["dashboard"])
        assert program("cancel").code == 0
