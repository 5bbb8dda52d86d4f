"""Connections of these tests look around more often than those on a shared disk."""

from __future__ import annotations

import pytest

from tbss_hpc.worker import connection


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(connection, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(connection, "OFFER_SECONDS", 0.1)
