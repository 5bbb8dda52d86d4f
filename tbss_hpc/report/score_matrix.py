"""The matrix of scores as a picture: who is how far from whom, and which column wins.

A self-contained SVG. Cells of one colour share one path, so that 100 subjects (10,000 cells) take
some 200 KB.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape

from msgspec import Struct

from tbss_hpc.tbss.target import Scores

#: Good ends of a scale, and into how many parts each divides well.
_SCALES = {1: 4, 1.2: 4, 1.5: 3, 2: 4, 2.5: 5, 3: 3, 4: 4, 5: 5, 6: 3, 8: 4, 10: 4}
_SIDE = 560.0  #: of the matrix, px, for more than ten subjects
_LARGEST_CELL = 56.0
_MARGIN = 28.0
_BARS = 76.0  #: height of the strip of means
_GAP = 14.0
_LEVELS = 96  #: distinct colours
_LABEL_PITCH = 11.0  #: px between labels, at least
_NUMBERS_UP_TO = 12  #: subjects; above that, cells are too small for their numbers
_TOOLTIPS_UP_TO = 30
_LONGEST_LABEL = 22
_LETTER = 0.58  #: width of a letter, in font sizes
_INK, _SOFT, _HAIR, _ACCENT = "#1f2430", "#667085", "#d5d9e0", "#d1495b"
_STYLE = (
    "text{font-family:'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif;"
    f"fill:{_INK}}}.soft{{fill:{_SOFT}}}.best{{fill:{_ACCENT};font-weight:700}}"
)


class _Plot(Struct, frozen=True):
    """Where things go, in px."""

    scores: Scores
    top_value: float  #: of the colour ramp
    cell: float
    left: float
    top: float
    label_size: float

    @property
    def count(self) -> int:
        return len(self.scores.subjects)

    @property
    def side(self) -> float:
        return self.cell * self.count

    @property
    def right(self) -> float:
        return self.left + self.side

    @property
    def bottom(self) -> float:
        return self.top + self.side

    @property
    def best(self) -> int:
        return self.scores.subjects.index(self.scores.best)


def score_matrix_svg(scores: Scores, title: str) -> str:
    """Draw the scores: rows are inputs, columns are references, bars are the columns' means."""
    plot = _plan(scores)
    names_height = _widest(scores) * plot.label_size * _LETTER + 44
    width = max(plot.right + 96, 460.0)
    height = plot.bottom + _GAP + _BARS + names_height
    size = f'width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" {size}>',
        f"<title>{escape(title)}: {escape(_verdict(scores))}</title><style>{_STYLE}</style>",
        f'<rect {size} fill="#fff"/>',
        *_headings(plot, title),
        *_cells(plot),
        *_row_names(plot),
        *_bars(plot),
        *_column_names(plot),
        *_mark_of_best(plot),
        *_legend(plot),
        *_tooltips(plot),
        "</svg>\n",
    ]
    return "\n".join(parts)


def colour(share: float) -> str:
    """Give the colour at a place between 0 (pale) and 1 (dark); equal steps look equally large.

    The lightness of OKLab falls evenly while the hue goes from straw over green to indigo.
    """
    share = min(1.0, max(0.0, share))
    lightness = 0.975 - 0.70 * share
    chroma = 0.035 + 0.068 * math.sin(math.pi * (0.1 + 0.8 * share))
    hue = math.radians(105 + 178 * share)
    channels = _from_oklab(lightness, chroma * math.cos(hue), chroma * math.sin(hue))
    return "#" + "".join(f"{round(255 * _gamma(c)):02x}" for c in channels)


def _from_oklab(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    """Turn OKLab into linear sRGB."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )


def _gamma(linear: float) -> float:
    linear = min(1.0, max(0.0, linear))
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055  # noqa: PLR2004 - sRGB


def _plan(scores: Scores) -> _Plot:
    cell = min(_LARGEST_CELL, _SIDE / len(scores.subjects))
    label_size = min(12.0, max(9.0, cell * 0.62))
    return _Plot(
        scores=scores,
        top_value=_top_value(scores),
        cell=cell,
        left=_MARGIN + 22 + _widest(scores) * label_size * _LETTER + 8,
        top=122.0,
        label_size=label_size,
    )


def _top_value(scores: Scores) -> float:
    """Choose where the ramp ends: a few failures of registration must not bleach all the rest."""
    values = sorted(value for row in scores.matrix for value in row)
    high = values[min(len(values) - 1, int(0.995 * len(values)))]
    return _scale(high)[0]


def _scale(value: float) -> tuple[float, int]:
    """Give the next number that makes a good end of a scale, and its number of parts."""
    if value <= 0:
        return 1.0, 4
    power = 10.0 ** math.floor(math.log10(value))
    return next((e * power, parts) for e, parts in _SCALES.items() if e * power >= value * 0.999)


def _headings(plot: _Plot, title: str) -> Iterator[str]:
    scores = plot.scores
    yield _text(_MARGIN, 38, title, size=19, extra='font-weight="700"')
    yield _text(_MARGIN, 60, _verdict(scores), size=13)
    middle = plot.left + plot.side / 2
    yield _text(middle, plot.top - 19, "reference F", size=12.5, kind="soft", anchor="middle")
    y = plot.top + plot.side / 2
    turned = f'transform="rotate(-90 {_MARGIN + 8:.1f} {y:.1f})"'
    yield _text(_MARGIN + 8, y, "input G", 12.5, kind="soft", anchor="middle", extra=turned)


def _verdict(scores: Scores) -> str:
    means = dict(zip(scores.subjects, scores.means, strict=True))
    best, second = scores.best, scores.runner_up
    return (
        f"Most typical: {_label(best)} (mean {_number(means[best])} mm²);"
        f" next: {_label(second)} ({_number(means[second])} mm²)"
    )


def _cells(plot: _Plot) -> Iterator[str]:
    """Draw the cells, all of one colour in one path, in units of cells."""
    paths: dict[int, list[str]] = defaultdict(list)
    for g, row in enumerate(plot.scores.matrix):
        for f, value in enumerate(row):
            paths[_level(value, plot)].append(f"M{f} {g}h1v1h-1z")
    place = f"translate({plot.left:.2f} {plot.top:.2f}) scale({plot.cell:.4f})"
    yield f'<g transform="{place}" shape-rendering="crispEdges">'
    for level, squares in sorted(paths.items()):
        yield f'<path fill="{colour(level / (_LEVELS - 1))}" d="{"".join(squares)}"/>'
    yield "</g>"
    yield _frame(plot.left, plot.top, plot.side, plot.side, _HAIR, 1)
    if plot.count <= _NUMBERS_UP_TO:
        yield from _numbers(plot)


def _numbers(plot: _Plot) -> Iterator[str]:
    size = min(13.0, plot.cell * 0.27)
    for g, row in enumerate(plot.scores.matrix):
        for f, value in enumerate(row):
            x = plot.left + (f + 0.5) * plot.cell
            y = plot.top + (g + 0.5) * plot.cell + size * 0.36
            light = 'style="fill:#fff"' if value / plot.top_value > 0.45 else ""  # noqa: PLR2004 - dark enough
            yield _text(x, y, _number(value), size, anchor="middle", extra=light)


def _row_names(plot: _Plot) -> Iterator[str]:
    for index in _shown(plot):
        y = plot.top + (index + 0.5) * plot.cell + plot.label_size * 0.36
        kind = "best" if index == plot.best else ""
        name = _label(plot.scores.subjects[index])
        yield _text(plot.left - 7, y, name, plot.label_size, kind=kind, anchor="end")


def _column_names(plot: _Plot) -> Iterator[str]:
    y = plot.bottom + _GAP + _BARS + 10
    for index in _shown(plot):
        x = plot.left + (index + 0.5) * plot.cell + plot.label_size * 0.36
        kind = "best" if index == plot.best else ""
        name = _label(plot.scores.subjects[index])
        turned = f'transform="rotate(-90 {x:.1f} {y:.1f})"'
        yield _text(x, y, name, plot.label_size, kind=kind, anchor="end", extra=turned)


def _shown(plot: _Plot) -> list[int]:
    """Choose the labels that fit; the winner's always does, and its neighbours make room."""
    step = max(1, math.ceil(_LABEL_PITCH / plot.cell))
    best = plot.best
    spaced = [i for i in range(0, plot.count, step) if i == best or abs(i - best) >= step]
    return sorted({*spaced, best})


def _bars(plot: _Plot) -> Iterator[str]:
    """Draw each reference's mean as a bar below its column."""
    base = plot.bottom + _GAP + _BARS
    top_mean, _ = _scale(max(plot.scores.means))
    scale = (_BARS - 8) / top_mean
    for value in (0.0, top_mean / 2, top_mean):
        y = base - value * scale
        yield _line(plot.left, y, plot.right, y, _HAIR)
        yield _text(plot.right + 6, y + 3.5, _short(value), 10.5, kind="soft")
    inset = 0.5 * min(3.0, plot.cell * 0.24)
    for index, mean in enumerate(plot.scores.means):
        fill = _ACCENT if index == plot.best else "#98a2b3"
        x, width = plot.left + index * plot.cell + inset, plot.cell - 2 * inset
        height = mean * scale
        yield _box(x, base - height, width, height, fill)
    y = base - _BARS / 2
    yield _text(plot.left - 7, y - 1, "mean", 12, kind="soft", anchor="end")
    yield _text(plot.left - 7, y + 12, "mm²", 10.5, kind="soft", anchor="end")


def _mark_of_best(plot: _Plot) -> Iterator[str]:
    x = plot.left + plot.best * plot.cell
    yield _frame(x, plot.top, plot.cell, plot.side, _ACCENT, max(1.2, min(2.2, plot.cell * 0.1)))
    middle, tip = x + plot.cell / 2, plot.top - 2
    yield f'<path fill="{_ACCENT}" d="M{middle:.1f} {tip:.1f}l-5 -8h10z"/>'


def _legend(plot: _Plot) -> Iterator[str]:
    x, height, steps = plot.right + 26, min(220.0, plot.side), 48
    for step in range(steps):
        share = 1 - step / (steps - 1)
        y = plot.top + height * step / steps
        yield _box(x, y, 14, height / steps + 0.6, colour(share))
    yield _frame(x, plot.top, 14, height, _HAIR, 1)
    largest = max(value for row in plot.scores.matrix for value in row)
    parts = _scale(plot.top_value)[1]
    for share in (part / parts for part in range(parts + 1)):
        y = plot.top + height * (1 - share)
        beyond = "≥ " if share == 1.0 and largest > plot.top_value * 1.001 else ""
        label = beyond + _short(plot.top_value * share)
        yield _line(x + 14, y, x + 18, y, _SOFT)
        yield _text(x + 21, y + 3.8, label, 10.5, kind="soft")
    yield _text(x, plot.top - 12, "mm²", 12, kind="soft")


def _tooltips(plot: _Plot) -> Iterator[str]:
    """Let the pointer read a cell, where there are few enough of them."""
    if plot.count > _TOOLTIPS_UP_TO:
        return
    names = [escape(_label(name)) for name in plot.scores.subjects]
    yield '<g fill="#fff" fill-opacity="0">'
    for g, row in enumerate(plot.scores.matrix):
        for f, value in enumerate(row):
            x, y = plot.left + f * plot.cell, plot.top + g * plot.cell
            yield (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{plot.cell:.1f}" height="{plot.cell:.1f}">'
                f"<title>{names[g]} to {names[f]}: {value:.4f} mm²</title></rect>"
            )
    yield "</g>"


def _level(value: float, plot: _Plot) -> int:
    share = min(1.0, max(0.0, value / plot.top_value))
    return round(share * (_LEVELS - 1))


def _label(subject: str) -> str:
    """Give the name that fits: without the ending that all have, and not too long."""
    name = subject.removesuffix("_FA")
    if len(name) <= _LONGEST_LABEL:
        return name
    half = _LONGEST_LABEL // 2 - 1
    return f"{name[:half]}…{name[-half:]}"


def _widest(scores: Scores) -> int:
    return max(len(_label(subject)) for subject in scores.subjects)


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004 - three digits are enough


def _short(value: float) -> str:
    return f"{value:.3g}"


def _text(  # noqa: PLR0913 - the attributes of an SVG text
    x: float,
    y: float,
    text: str,
    size: float,
    *,
    kind: str = "",
    anchor: str = "start",
    extra: str = "",
) -> str:
    attributes: Sequence[str] = [
        f'x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}"',
        f'text-anchor="{anchor}"' if anchor != "start" else "",
        f'class="{kind}"' if kind else "",
        extra,
    ]
    return f"<text {_words(attributes)}>{escape(text)}</text>"


def _words(parts: Iterable[str]) -> str:
    return " ".join(part for part in parts if part)


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{fill}"/>'
    )


def _frame(  # noqa: PLR0913, PLR0917 - the attributes of an SVG rectangle
    x: float, y: float, width: float, height: float, stroke: str, thickness: float
) -> str:
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="none"'
        f' stroke="{stroke}" stroke-width="{thickness:.1f}"/>'
    )


def _line(x: float, y: float, to_x: float, to_y: float, stroke: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{stroke}"/>'
