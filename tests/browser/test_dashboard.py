"""The dashboard and the picture of the scores, as a person sees them in Chromium."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tbss_hpc.report.score_matrix import score_matrix_svg
from tbss_hpc.tbss.pairs import pair_name
from tbss_hpc.tbss.target import scores_of
from tests.browser.chromium import Page, find_chromium, new_page

if TYPE_CHECKING:
    from tests.browser.conftest import Running

#: All that the plots of a page are drawn from.
DATA = (
    "JSON.stringify([...Bokeh.documents[0]._all_models.values()]"
    ".filter(model => model.type === 'ColumnDataSource').map(model => model.data))"
)
PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def chromium() -> str:
    return find_chromium()


def hosts(page: Page) -> set[str]:
    """Name the hosts that a page has asked for anything."""
    parts = [urlsplit(address) for address in page.asked.values()]
    return {part.hostname or "" for part in parts if part.scheme in {"http", "https", "ws", "wss"}}


def test_the_address_of_status_shows_live_plots(run: Running, tmp_path: Path) -> None:
    allocation = run.program.status()["allocations"][0]["name"]

    async def body() -> None:
        async with new_page(tmp_path) as page:
            await page.open(run.address)
            await page.until("window.Bokeh && Bokeh.documents.length > 0")

            assert await page.evaluate("location.href") == f"{run.door}/status"
            assert await page.evaluate("document.cookie") == ""
            assert await page.evaluate("Bokeh.documents[0].title()") == "Dask: Status"

            # The plots are drawn from what the web socket brings: it changes by itself.
            before = await page.evaluate(DATA)
            assert "tls://127.0.0.1:" in before
            await page.until(f"{DATA}.length > {len(before)}")
            assert any("PATCH-DOC" in frame for frame in page.frames)
            assert (await page.screenshot(tmp_path / "status.png")).startswith(PNG)

            # Within the site the cookie is enough, and workers go by their allocations' names.
            await page.open(f"{run.door}/workers")
            await page.until(
                f"window.Bokeh && Bokeh.documents.length && {DATA}.includes('{allocation}')"
            )
            await page.open(f"{run.door}/info/main/workers.html")
            await page.until(f"document.body.innerText.includes('{allocation}')")

            assert (await page.screenshot(tmp_path / "workers.png")).startswith(PNG)

            # Dask's Info pages name a style sheet of another host; the browser may not fetch it.
            assert hosts(page) == {"127.0.0.1"}
            assert [error for error in page.errors if "Content Security Policy" not in error] == []
            assert len(page.forbidden) <= 1

    asyncio.run(body())


def test_without_the_token_a_person_reads_what_to_do(run: Running, tmp_path: Path) -> None:
    async def body() -> None:
        async with new_page(tmp_path) as page:
            await page.open(f"{run.door}/status")
            text = await page.evaluate("document.body.innerText")

            assert text.startswith("This page belongs to a tbss-hpc run. Open the address that")
            assert "tbss-hpc status" in text

    asyncio.run(body())


def test_the_picture_of_the_scores_shows_every_subject(tmp_path: Path) -> None:
    subjects = ("anna", "bela", "carl", "d&d <x>")
    values = {
        pair_name(g, f): Decimal(f"{1 + abs(i - j)}.5")
        for i, g in enumerate(subjects)
        for j, f in enumerate(subjects)
    }
    picture = tmp_path / "scores.svg"
    scores = scores_of(subjects, values)
    picture.write_text(score_matrix_svg(scores, "Registration scores of study"))

    async def body() -> None:
        async with new_page(tmp_path) as page:
            await page.open(picture.as_uri())
            labels = await page.evaluate(
                "[...document.querySelectorAll('text')].map(t => t.textContent)"
            )
            outside = await page.evaluate(
                "[...document.querySelectorAll('text')].filter(t => {"
                " const box = t.getBoundingClientRect(), all ="
                " document.documentElement.getBoundingClientRect();"
                " return box.width === 0 || box.left < all.left || box.right > all.right"
                " || box.top < all.top || box.bottom > all.bottom}).map(t => t.textContent)"
            )

            assert await page.evaluate("document.documentElement.tagName") == "svg"
            assert set(subjects) <= set(labels)
            assert any("Registration scores of study" in label for label in labels)
            assert outside == []
            assert await page.evaluate("document.querySelectorAll('rect').length") > 16
            assert (await page.screenshot(tmp_path / "scores.png")).startswith(PNG)
            assert hosts(page) == set()
            assert page.errors == []

    asyncio.run(body())
