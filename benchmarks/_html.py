"""A run as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from html import escape

from benchmarks import _goals, _plots, _tables
from benchmarks._measure import PanelResult
from benchmarks._results import SuiteResult
from benchmarks._units import UNITS

_STYLE = """
:root { color-scheme: light; --ink: #1f2430; --soft: #667085; --line: #e4e7ec; --ours: #b3471f; --wash: #fff6f1 }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.5rem 5rem; max-width: 68rem; color: var(--ink); background: #fff;
  font: 15px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
h1 { font-size: 1.9rem; margin: 0 0 .4rem } h2 { font-size: 1.35rem; margin: 3.2rem 0 .2rem }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem } p { margin: .3rem 0 1rem; max-width: 52rem }
.soft, small { color: var(--soft) } nav { margin: 1.2rem 0 2rem; line-height: 2 }
nav a { display: inline-block; margin-right: .5rem; padding: .05rem .7rem; border: 1px solid var(--line);
  border-radius: 1rem; color: inherit; text-decoration: none } nav a:hover { border-color: var(--ink) }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .28rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th { color: var(--soft); font-weight: 500 } th:first-child, td:first-child, td.note, th.note { text-align: left }
td.note { color: var(--soft); white-space: normal; min-width: 14rem }
tr.ours td { background: var(--wash); font-weight: 600 }
tr.ours td:first-child { color: var(--ours) } tr.base td { color: var(--soft) }
td.held { color: #18794e; font-weight: 600 } td.missed { color: #c62828; font-weight: 600 }
img { display: block; width: 100%; height: auto; margin: 1rem 0; border: 1px solid var(--line); border-radius: .5rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; font-size: .9rem }
dt { color: var(--soft) } dd { margin: 0 } details { margin: .6rem 0 } summary { cursor: pointer; color: var(--soft) }
"""


def page(results: list[SuiteResult]) -> str:
    """Return the report; where matplotlib is not installed, without pictures."""
    return "\n".join(_page(results))


def _picture(suite: SuiteResult) -> str | None:
    try:
        return _plots.suite_picture(suite)
    except ModuleNotFoundError:
        return None


def _page(results: list[SuiteResult]) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>memocache: benchmarks</title>\n<style>{_STYLE}</style>\n</head>\n<body>"
    yield "<h1>memocache beside its peers</h1>"
    yield (
        "<p>Contenders take turns in rounds within one process, a different one first in each, so that a slow minute "
        "of the machine falls on all of them. A figure is the median over the rounds, with the quartiles; a ratio is "
        "the median of the ratios to the base in the same round. Times depend on the machine, ratios much less.</p>"
    )
    yield "<nav>" + "".join(f'<a href="#{escape(one.name)}">{escape(one.name)}</a>' for one in results) + "</nav>"
    goals = list(_goals.judged(results))
    if goals:
        yield "<h2>What was promised</h2>"
        yield '<div class="scroll"><table>'
        yield "<tr><th>goal</th><th>bound</th><th>measured</th><th>quartiles</th><th></th></tr>"
        for goal in goals:
            verdict = "held" if goal.held else "missed"
            cells = (goal.bound, goal.measured, goal.quartiles)
            yield f"<tr><td>{escape(goal.name)}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            yield f'<td class="{verdict}">{verdict}</td></tr>'
        yield "</table></div>"
    for suite in results:
        yield f'<h2 id="{escape(suite.name)}">{escape(suite.name)}</h2>'
        yield f'<p>{escape(_capital(suite.about))}. <span class="soft">Counted: {escape(suite.counted)}.</span></p>'
        picture = _picture(suite)
        if picture is not None:
            data = b64encode(picture.encode()).decode()
            yield f'<img alt="{escape(suite.name)}" src="data:image/svg+xml;base64,{data}">'
        yield f"<details{'' if picture else ' open'}><summary>The figures</summary>"
        for panel in suite.panels:
            yield from _panel(panel)
        yield "</details>"
        yield from _skipped(suite)
    yield "<h2>The machine</h2>"
    yield from _facts(results)
    yield "</body>\n</html>\n"


def _panel(panel: PanelResult) -> Iterator[str]:
    base = "" if not panel.results else f"{panel.base} = {0 if UNITS[panel.unit].as_difference else 1}"
    yield f"<h3>{escape(panel.panel)} <small>{escape(base)}</small></h3>"
    if panel.results:
        heads = _tables.columns(panel)
        yield '<div class="scroll"><table><tr>' + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"
        for one, cells in _tables.rows(panel):
            kind = "ours" if _tables.is_ours(one.contender) else "base" if one.contender == panel.base else ""
            marked = (
                f'<td class="note">{escape(cell)}</td>' if head == "" else f"<td>{escape(cell)}</td>"
                for head, cell in zip(heads, cells, strict=True)
            )
            yield f'<tr class="{kind}">' + "".join(marked) + "</tr>"
        yield "</table></div>"


def _skipped(suite: SuiteResult) -> Iterator[str]:
    """Each contender that did not take part once, with the panels it is missing from, if not from all."""
    missing: dict[str, list[str]] = {}
    for panel in suite.panels:
        for line in _tables.skipped(panel):
            missing.setdefault(line, []).append(panel.panel)
    if missing:
        yield '<ul class="soft">'
        for line, panels in missing.items():
            where = "" if len(panels) == len(suite.panels) else f" ({'; '.join(panels)})"
            yield f"<li>{escape(line + where)}</li>"
        yield "</ul>"


def _facts(results: Iterable[SuiteResult]) -> Iterator[str]:
    for names, facts in machines(results):
        yield f"<h3>{escape(', '.join(names))}</h3><dl>"
        for name, fact in facts:
            yield f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>"
        yield "</dl>"


def machines(results: Iterable[SuiteResult]) -> Iterator[tuple[list[str], list[tuple[str, str]]]]:
    """Yield what is known of each machine (and versions), in words, with the suites that ran on it and how they ran."""
    runs: dict[str, list[SuiteResult]] = {}
    for one in results:
        lasting = {name: fact for name, fact in one.facts.items() if name not in _PASSING}
        runs.setdefault(repr(lasting), []).append(one)
    for together in runs.values():
        yield [one.name for one in together], [*_machine(together), *_conditions(together)]


_PASSING = ("effort", "load_average_before", "server")
"""The facts that are of one run, not of the machine."""


def _machine(together: list[SuiteResult]) -> Iterator[tuple[str, str]]:
    known = together[0].facts
    yield "processor", f"{known['processor']}, {known['cores']} cores"
    yield "platform", known["platform"]
    yield "python", known["python"]
    if servers := dict.fromkeys(server for one in together if (server := one.facts.get("server"))):
        yield "server", ", ".join(servers)
    if known.get("commit"):
        yield "commit", known["commit"][:12] + (" and uncommitted changes" if known["uncommitted_changes"] else "")
    yield "versions", ", ".join(f"{name} {version}" for name, version in known["versions"].items())


def _conditions(together: list[SuiteResult]) -> Iterator[tuple[str, str]]:
    """How the suites ran: those alike together."""
    alike: dict[str, list[SuiteResult]] = {}
    for one in together:
        effort, load = one.facts.get("effort"), one.facts.get("load_average_before")
        words = "" if not effort else f"{effort['name']} effort, up to {effort['rounds']} rounds"
        if load:
            words += f"; load average before {', '.join(f'{figure:.2f}' for figure in load)}"
        alike.setdefault(words, []).append(one)
    for words, those in alike.items():
        yield f"run of {', '.join(one.name for one in those)}", f"{words}; finished {max(one.at for one in those)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
