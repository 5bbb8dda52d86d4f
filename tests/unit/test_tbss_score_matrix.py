"""The picture of the scores: well-formed, small, and with the right column marked."""

from __future__ import annotations

import re
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest

from tbss_hpc.report.score_matrix import colour, score_matrix_svg
from tbss_hpc.tbss.target import Scores, scores_of

SVG = "{http://www.w3.org/2000/svg}"


def scores_for(count: int) -> Scores:
    """Give scores in which every pair differs and the middle reference wins."""
    subjects = [f"s{i:03d}_FA" for i in range(count)]
    values = {
        f"{g}_to_{f}": Decimal(100 + 3 * i + abs(j - count // 2) * 7) / 100
        for i, g in enumerate(subjects)
        for j, f in enumerate(subjects)
    }
    return scores_of(subjects, values)


def texts(svg: str) -> list[tuple[str, str]]:
    root = ET.fromstring(svg)  # noqa: S314 - our own text
    return [(node.text or "", node.get("class", "")) for node in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("count", [2, 3, 20, 37, 100])
def test_the_picture_is_small_and_draws_every_cell_once(count: int) -> None:
    svg = score_matrix_svg(scores_for(count), "Scores")
    cells = re.findall(r"M(\d+) (\d+)h1v1h-1z", svg)

    assert len(svg.encode()) < 1_000_000
    assert len(cells) == count**2
    assert len(set(cells)) == count**2
    assert "href" not in svg


def test_the_winner_is_marked_in_row_column_and_words() -> None:
    found = texts(score_matrix_svg(scores_for(5), "Scores"))

    assert [text for text, kind in found if kind == "best"] == ["s002", "s002"]
    assert any(
        text.startswith("Most typical: s002 (mean 1.06 mm²); next: s001") for text, _ in found
    )


def test_numbers_stand_in_the_row_of_the_input_and_the_column_of_the_reference() -> None:
    scores = scores_of(
        ("a", "b"),
        {"a_to_a": Decimal(0), "a_to_b": Decimal(1), "b_to_a": Decimal(2), "b_to_b": Decimal(3)},
    )
    root = ET.fromstring(score_matrix_svg(scores, "Scores"))  # noqa: S314 - our own text
    place = {
        node.text: (float(node.get("x", 0)), float(node.get("y", 0)))
        for node in root.iter(f"{SVG}text")
        if re.fullmatch(r"\d\.\d\d", node.text or "")
    }

    assert place["1.00"][1] == place["0.00"][1]
    assert place["1.00"][0] > place["0.00"][0]
    assert place["2.00"][0] == place["0.00"][0]
    assert place["2.00"][1] > place["0.00"][1]


def test_up_to_twenty_subjects_all_have_labels_and_a_hundred_have_fewer() -> None:
    def labels(count: int) -> int:
        return sum(
            re.fullmatch(r"s\d{3}", text) is not None
            for text, _ in texts(score_matrix_svg(scores_for(count), "Scores"))
        )

    assert labels(20) == 40
    assert 40 < labels(100) <= 104


def test_an_outlier_does_not_bleach_the_rest() -> None:
    scores = scores_for(40)
    scores.matrix[3][5] = 400.0

    svg = score_matrix_svg(scores, "Scores")

    assert any(text.startswith("≥") for text, _ in texts(svg))
    assert len(set(re.findall(r'<path fill="(#\w+)" d="M\d+ \d+h', svg))) > 20


def test_a_study_without_any_warp_can_be_drawn() -> None:
    values = {f"{g}_to_{f}": Decimal(0) for g in "ab" for f in "ab"}

    assert "Most typical: a" in score_matrix_svg(scores_of("ab", values), "Scores")


def test_titles_and_names_cannot_break_the_picture() -> None:
    values = {f"{g}_to_{f}": Decimal(1) for g in ("<&>", "b") for f in ("<&>", "b")}
    svg = score_matrix_svg(scores_of(("<&>", "b"), values), "A & B <c>")

    assert ("A & B <c>", "") in texts(svg)


def luminance(colour_text: str) -> float:
    red, green, blue = (int(colour_text[i : i + 2], 16) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_darken_all_the_way() -> None:
    lights = [luminance(colour(step / 50)) for step in range(51)]

    assert lights == sorted(lights, reverse=True)
    assert lights[0] > 230
    assert lights[-1] < 50
