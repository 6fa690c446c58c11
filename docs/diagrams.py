"""Draw the diagrams of how-it-works.md and architecture.md.

``python docs/diagrams.py`` writes ``docs/images/how-*.svg``.
"""

from __future__ import annotations

import textwrap
from html import escape
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
STEP, GAP, LINE, PAD = 300, 34, 18, 12
ASIDE = 210
FONT = 'font-family="system-ui, sans-serif" font-size="14"'
STYLE = """<style>
.box { fill: #eef3fb; stroke: #3b6ea5 } .end { fill: #e9f6ec; stroke: #2f855a } .arrow { stroke: #555; fill: none }
text { fill: #1a202c } .label { fill: #555; font-size: 12px }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>"""


def box(x: float, y: float, width: float, text: str, kind: str = "box") -> tuple[str, float]:
    """A box with folded text; its SVG and its height."""
    lines = textwrap.wrap(text, int(width / 8))
    height = len(lines) * LINE + PAD
    shapes = [f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>']
    for number, line in enumerate(lines):
        at = y + PAD / 2 + LINE * (number + 0.75)
        shapes.append(f'<text x="{x + width / 2}" y="{at}" text-anchor="middle">{escape(line)}</text>')
    return "\n".join(shapes), height


def arrow(x1: float, y1: float, x2: float, y2: float, label: str = "") -> str:
    """An arrow, its label beside its middle."""
    x, y = ((x1 + x2) / 2, y1 - 5) if y1 == y2 else (x1 + 8, (y1 + y2) / 2 + 4)
    anchor = "middle" if y1 == y2 else "start"
    line = f'<path class="arrow" d="M{x1} {y1} L{x2} {y2}" marker-end="url(#tip)"/>'
    return f'{line}\n<text class="label" x="{x}" y="{y}" text-anchor="{anchor}">{escape(label)}</text>'


def sheet(width: float, height: float, title: str, shapes: list[str]) -> str:
    """A whole picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" {FONT} role="img">\n'
        f"<title>{escape(title)}</title>\n{STYLE}\n"
        f'<rect class="sheet" width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def flow(title: str, steps: list[tuple[str, str, str, str]]) -> str:
    """Steps downwards: each its text, what leads on to the next, what leads aside, and where that ends."""
    shapes, y, left = [], 12.0, 12.0
    aside = left + STEP + 110
    for text, onwards, when, ends in steps:
        shape, height = box(left, y, STEP, text)
        shapes.append(shape)
        if ends:
            other, its = box(aside, y, ASIDE, ends, "end")
            middle = y + min(height, its) / 2
            shapes += [other, arrow(left + STEP, middle, aside, middle, when)]
            below = max(height, its)
        else:
            below = height
        if onwards is not None and (text, onwards, when, ends) != steps[-1]:
            shapes.append(arrow(left + STEP / 2, y + height, left + STEP / 2, y + below + GAP, onwards))
        y += below + GAP
    return sheet(aside + ASIDE + 12, y - GAP + 12, title, shapes)


def race(title: str, who: tuple[str, str, str], events: list[tuple[int, int, str]]) -> str:
    """Lives side by side, and what passes between them, downwards in time."""
    width, column = 720.0, (110.0, 360.0, 610.0)
    height = 74.0 + 46 * len(events)
    shapes = []
    for x, name in zip(column, who, strict=True):
        shape, its = box(x - 95, 10, 190, name)
        shapes += [shape, f'<path class="arrow" d="M{x} {10 + its} V{height - 8}" stroke-dasharray="4 4"/>']
    for number, (start, end, text) in enumerate(events):
        y = 84.0 + 46 * number
        if start == end:
            shape, _ = box(column[start] - 95, y - 22, 190, text, "end")
            shapes.append(shape)
        else:
            shapes.append(arrow(column[start], y, column[end], y, text))
    return sheet(width, height, title, shapes)


def floors(title: str, rows: list[list[tuple[str, str]]]) -> str:
    """Floors of a house, the highest first: on each the rooms (name and purpose) that may use those below."""
    width, y, shapes = 720.0, 12.0, []
    for row in rows:
        room = (width - 24 - 12 * (len(row) - 1)) / len(row)
        drawn = [
            box(12 + number * (room + 12), y, room, f"{name}: {purpose}") for number, (name, purpose) in enumerate(row)
        ]
        shapes += [shape for shape, _ in drawn]
        below = y + max(height for _, height in drawn)
        if row is not rows[-1]:
            shapes.append(arrow(width / 2, below, width / 2, below + 24))
        y = below + 24
    return sheet(width, y - 12, title, shapes)


PICTURES = {
    "how-call": flow(
        "What a call does",
        [
            (
                "the compiled look-up: bind the arguments, find the entry, is it fresh?",
                *("no", "yes", "serve, from the process"),
            ),
            (
                "value and markers from the backend, in one round trip: fresh, and do the markers agree?",
                *("no", "they agree", "serve; with stale= an old one too, refreshed behind it"),
            ),
            (
                "enter the flight of the key",
                *("nobody leads", "somebody leads", "wait, and take theirs if you joined before they stored"),
            ),
            ("begin, one transaction: create missing markers, write a witness, take the lease", "", "", ""),
            ("compute", "", "it raises", "the exception, or with stale_if_error= the old value"),
            (
                "commit, one transaction: if witness and markers are unchanged, store and wake waiters",
                *("", "they changed", "return the value, store nothing"),
            ),
        ],
    ),
    "how-call-modules": flow(
        "One call, and the module of each step",
        [
            (
                "_calls/wrapper: the compiled look-up finds the entry in the process",
                *("not there, or not fresh", "fresh", "the value; no other module has run"),
            ),
            (
                "_calls/remote_hit: the key (_calls/call_key), and one read of entry and markers",
                *("anything else", "a plain fresh hit", "the value, decoded by codecs/"),
            ),
            (
                "_calls/engine: look; _calls/freshness judges what was found",
                *("miss", "stale, and that is allowed", "the old value; a refresh runs behind it"),
            ),
            (
                "_runtime/singleflight: who leads this key?",
                *("this caller", "another caller", "wait, take the outcome, or look again"),
            ),
            ("_stores/remote: begin, with markers, witness and lease", "", "", ""),
            (
                "the driver in _runtime runs the function",
                *("", "it raises", "the exception, or the old value with stale_if_error="),
            ),
            ("_stores/remote: commit, if witness and markers stand unchanged", "", "", ""),
        ],
    ),
    "how-rooms": floors(
        "The rooms of the package",
        [
            [("cli", "the command line")],
            [
                ("dashboard", "the fleet in a browser"),
                ("instrumentation", "observers that export"),
                ("testing", "clock, servers, faults, the backend contract"),
            ],
            [("memocache", "the public face")],
            [("_cache", "the object Cache and all its methods")],
            [("_calls", "one cached call, from the decorator to the engine")],
            [("_stores", "where outcomes are kept: the process, a backend, copies of one in the other")],
            [("backends", "bytes by key: memory, Redis, cluster, Sentinel, disk")],
            [
                ("_runtime", "effects and drivers, single-flight, generations, identities, breaker"),
                ("codecs", "values to bytes and back"),
            ],
            [("typing", "protocols and sentinels")],
            [("exceptions", "the error tree"), ("stats", "figures and their words")],
        ],
    ),
    "how-race": race(
        "An invalidation during a computation",
        ("a computation", "backend", "whoever invalidates"),
        [
            (0, 1, "begin: markers read, witness written"),
            (0, 0, "computes with old data"),
            (2, 1, "invalidate: delete the marker"),
            (0, 1, "commit, if the marker is as it was"),
            (1, 0, "it is not: nothing is stored"),
            (1, 1, "the next call computes"),
        ],
    ),
}

if __name__ == "__main__":
    for name, svg in PICTURES.items():
        (IMAGES / f"{name}.svg").write_text(svg, encoding="utf-8")
        print(f"docs/images/{name}.svg")
