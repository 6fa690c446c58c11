"""A mutation run: change one thing in a module, and see whether the tests that concern the module notice.

``python -m tests.mutation [MODULE ...]`` makes every mutant of the modules (default: all of `TESTS`), runs their tests
against each in a copy of the package, and prints the survivors: changes that no test noticed. ``--lines 10-40`` makes
only the mutants of those lines. It fails if a survivor is not in `EQUIVALENT`, which says why no test can tell it.

What is changed: comparisons, arithmetic and bit operators, ``and``/``or`` and each of their operands, ``not``,
conditions, numbers (one more, one less), strings and bytes (one character more), booleans, results (``None`` instead),
and statements (left out). Not changed: annotations, docstrings, f-strings, ``__all__``, and what a ``raise`` says.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import copy
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
_PYTEST = (
    "-x",
    "-q",
    "-c",
    os.devnull,
    "--noconftest",
    "--import-mode=importlib",
    "--assert=plain",
    "-p",
    "no:cacheprovider",
)
"""The least that these tests need: a run is mostly start-up."""
TIMEOUT = 600.0  # seconds, for tests without a mutant; a mutant may loop for ever, and gets five times what they took
PRELOADED = ["pytest", "hypothesis", "msgpack", "numpy", "pandas", "redis", "sqlite3"]

TESTS: dict[str, tuple[str, ...]] = {
    "_calls/freshness": ("calls/test_freshness", "calls/test_freshness_bounds"),
    "_calls/parse_duration": ("calls/test_parse_duration", "calls/test_freshness_bounds"),
    "_stores/remote/keyspace": ("stores/test_keyspace", "backends/test_slots"),
    "_stores/remote/envelope": (
        "stores/test_envelope",
        "stores/test_envelope_front",
        "stores/test_envelope_golden",
        "stores/test_envelope_damaged",
    ),
    "_calls/keys/canonical": ("calls/test_canonical_golden", "calls/test_canonical_limits", "calls/test_canonical"),
    "_calls/keys/standard_types": (
        "calls/test_canonical_golden",
        "calls/test_canonical_limits",
        "calls/test_canonical",
    ),
    "_runtime/generations": ("calls/test_freshness_bounds",),
    "_runtime/circuit_breaker": ("calls/test_freshness_bounds",),
    "_stores/s3fifo": ("calls/test_freshness_bounds", "stores/test_s3fifo"),
}
"""The tests (below tests) that concern a module, quick ones first."""

_JUDGE = "now: float, expires: float, stale_until: float, *, early: float = 0.0, cost: float = 0.0, draw: float = 1.0"
_EARLY = "early and now - cost * early * math.log(draw) >= expires"
_BUCKET_CACHE = "@lru_cache(1024)  # in a cluster every call asks for the bucket, which is that of the whole rest"
_SLOTS = "saves memory alone"
_PROTOCOL = "protocols 4 and 5 give the same parts"
_SAFE = '"<>:/@+=,;!$&\'()|~"'
_LETTER = "a letter is never escaped"
_ALIAS = "annotations alone speak of it"
_UNPACKER = (
    "unpacker = msgpack.Unpacker(max_buffer_size=len(raw) or 1, max_array_len=1000, max_ext_len=0, max_map_len=0)"
)
_CUT = "what must follow is not there either, and reading that is refused"
_ONLY = "the only one is the first and the last"
_NAME = "the name of a member, which nothing reads: verdicts are compared by identity"
_DOMAIN = "differs only for a draw above 1, which `judge` rules out"
_SHORTCUT = "saves work, and comes to the same"
_SIZE = "a size of a buffer, or from which on one is not kept: no result depends on it"
_ANSWER = "asked only whether it is true"

EQUIVALENT: dict[str, str] = {
    "_calls/freshness: FRESH = \"fresh\": 'fresh'  ->  'freshX'": _NAME,
    "_calls/freshness: REFRESH = \"refresh\"  # fresh, and due for an early refresh: 'refresh'  ->  'refreshX'": _NAME,
    "_calls/freshness: STALE = \"stale\": 'stale'  ->  'staleX'": _NAME,
    "_calls/freshness: MISS = \"miss\": 'miss'  ->  'missX'": _NAME,
    f"_calls/freshness: {_JUDGE}: 0.0  ->  -1.0": _DOMAIN,
    f"_calls/freshness: {_JUDGE}: 1.0  ->  2.0": _DOMAIN,
    f"_calls/freshness: if {_EARLY}:: {_EARLY}  ->  {_EARLY.removeprefix('early and ')}": _SHORTCUT,
    "_stores/remote/keyspace: _SAFE_NAME = \"<>\": '<>'  ->  '<>X'": _LETTER,
    f'_stores/remote/keyspace: _SAFE_KEY = {_SAFE}: {_SAFE}  ->  {_SAFE[:-1]}X"': _LETTER,
    "_calls/keys/canonical: return b\"(\" + _pack(values): return b'(' + _pack(values)  ->  pass": _SHORTCUT,
    "_calls/keys/canonical: pack = Packer(buf_size=4096).pack: 4096  ->  4097": _SIZE,
    "_calls/keys/canonical: pack = Packer(buf_size=4096).pack: 4096  ->  4095": _SIZE,
    "_calls/keys/canonical: if len(packed) < _BIG_PACKER:  # a packer never gives its buffer back: "
    "len(packed) < _BIG_PACKER  ->  len(packed) <= _BIG_PACKER": _SIZE,
    "_calls/keys/canonical: _packers.append(pack): _packers.append(pack)  ->  pass": _SHORTCUT,
    "_calls/keys/canonical: return False: return False  ->  return None": _ANSWER,
    "_calls/keys/canonical: return b\"\": b''  ->  b'X'": (
        "made by the search for what has no identity, which drops its output"
    ),
    "_calls/keys/canonical: _Out = list[bytes]: _Out = list[bytes]  ->  pass": _ALIAS,
    "_calls/keys/canonical: _Process = TokenSource | None: _Process = TokenSource | None  ->  pass": _ALIAS,
    "_calls/keys/canonical: return len(kinds) <= 1 and kinds <= _SORTABLE: kinds <= _SORTABLE  ->  kinds < _SORTABLE": (
        "a set of one is a subset of three, and never all of them"
    ),
    '_stores/remote/envelope: _packb: Callable[[object], bytes] = cast("Any", msgpack.packb)  # msgpack ships no types'
    ": 'Any'  ->  'AnyX'": _ALIAS,
    "_stores/remote/keyspace: if len(self.buckets) == 1:: 1  ->  0": _SHORTCUT,
    "_calls/keys/standard_types: for base in mro_of(cls)[1:]:: 1  ->  0": "only classes that are in no table come here",
    '_calls/keys/standard_types: id(datetime): lambda value: ("datetime", *datetime.__reduce_ex__(value, 4)[1]),: '
    "4  ->  5": _PROTOCOL,
    '_calls/keys/standard_types: id(time): lambda value: ("time", *time.__reduce_ex__(value, 4)[1]),: '
    "4  ->  5": _PROTOCOL,
    **{
        f"{module}: __slots__ = {slots}: __slots__ = {slots.replace(chr(34), chr(39))}  ->  pass": _SLOTS
        for module, slots in (
            ("_runtime/generations", '("__weakref__", "alive")'),
            ("_runtime/generations", '("_functions", "_prefix", "_tags", "epoch")'),
            ("_runtime/circuit_breaker", '("_stalled_at", "open", "outcomes")'),
        )
    },
    "_stores/remote/keyspace: if len(self.buckets) > 1:: 1  ->  2": "there is one, or there are 256",
    f"_stores/remote/keyspace: {_BUCKET_CACHE}: 1024  ->  1025": _SIZE,
    f"_stores/remote/keyspace: {_BUCKET_CACHE}: 1024  ->  1023": _SIZE,
    "_stores/remote/keyspace: return self.buckets[0]: return self.buckets[0]  ->  pass": _SHORTCUT,
    "_stores/remote/keyspace: return self.buckets[0]: 0  ->  -1": _ONLY,
    '_calls/keys/canonical: return out[0] if len(out) == 1 else b"".join(out): 1  ->  0': _SHORTCUT,
    '_calls/keys/canonical: return out[0] if len(out) == 1 else b"".join(out): 0  ->  -1': _ONLY,
    "_stores/remote/envelope: return None: return None  ->  pass": "the end of the function",
    **{
        f"_stores/remote/envelope: {_UNPACKER}: {change}": "types are checked after it; this bounds what is allocated"
        for change in ("len(raw) or 1  ->  len(raw)", "1  ->  2", "1  ->  0", "0  ->  1", "0  ->  -1")
    },
    "_stores/remote/envelope: if end > len(raw):: end > len(raw)  ->  end >= len(raw)": _CUT,
    "_stores/remote/envelope: raise ValueError(\"cut short\"): raise ValueError('cut short')  ->  pass": _CUT,
}
"""Mutants, as printed without the number of the line, that no test can tell from the original, and why."""


_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


class Mutant(NamedTuple):
    """A module with one thing changed."""

    module: str
    line: int
    before: str
    after: str
    text: str
    source: bytes

    @property
    def name(self) -> str:
        """What was changed, whatever the number of the line where it stands."""
        return f"{self.module}: {self.text}: {self.before}  ->  {self.after}"


def mutants(module: str, source: bytes) -> Iterator[Mutant]:
    """Every mutant of a module's source, in the order of its lines."""
    starts, lines = [0], source.splitlines(keepends=True)
    for line in lines:
        starts.append(starts[-1] + len(line))
    for node in sorted(_changeable(ast.parse(source)), key=lambda node: node.lineno):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        for changed in _changes(node):
            text = ast.unparse(changed)
            spliced = f"({text})" if isinstance(node, ast.expr) else text
            yield Mutant(
                module,
                node.lineno,
                " ".join(ast.unparse(node).split())[:100],
                " ".join(text.split())[:100],
                lines[node.lineno - 1].decode().strip(),
                source[:begin] + spliced.encode() + source[end:],
            )


def _changeable(tree: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "patterns", "pattern"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.JoinedStr | ast.Raise) or not isinstance(node, ast.AST):
                if isinstance(node, ast.Raise):
                    yield node
                continue
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                continue
            if isinstance(node, ast.expr | ast.stmt):
                yield node
            yield from _changeable(node)


def _changes(node: ast.expr | ast.stmt) -> Iterator[ast.AST]:
    def with_(**fields: object) -> ast.AST:
        changed = copy.copy(node)
        for name, value in fields.items():
            setattr(changed, name, value)
        return changed

    match node:
        case ast.Compare(ops=operators):
            for index, operator in enumerate(operators):
                yield with_(ops=[*operators[:index], _SWAPPED[type(operator)](), *operators[index + 1 :]])
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in _SWAPPED:
            yield with_(op=_SWAPPED[type(operator)]())
        case ast.BoolOp(op=operator, values=values):
            yield with_(op=_SWAPPED[type(operator)]())
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else with_(values=rest)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.IfExp(test=test):
            yield with_(test=ast.UnaryOp(ast.Not(), test))
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Constant(value=str() as value):
            yield ast.Constant(value + "X")
        case ast.Constant(value=bytes() as value):
            yield ast.Constant(value + b"X")
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield with_(value=ast.Constant(None))
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
    if isinstance(node, ast.If | ast.While) and not isinstance(node.test, ast.BoolOp | ast.Compare):
        yield with_(test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Expr | ast.Raise | ast.AugAssign | ast.Continue | ast.Return | ast.Assign | ast.Delete):
        yield ast.Pass()


def _run(room: str, module: str, source: bytes, tests: tuple[str, ...]) -> None:
    """In a process of its own: exit with pytest's status for the tests of one mutant."""
    log = os.open(os.path.join(room, "log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(room)
    sys.path[:] = [room, *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT)]
    os.environ["PYTHONPATH"] = room  # for the processes that tests start
    Path(room, "memocache", f"{module}.py").write_bytes(source)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    import hypothesis
    import pytest

    hypothesis.settings.register_profile(
        "mutation", phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate], database=None, derandomize=True
    )
    hypothesis.settings.load_profile("mutation")  # what fails need not be made smaller
    paths = [f"tests/{name}.py" for name in tests]
    status = int(pytest.main([*_PYTEST, "--rootdir", room, *paths]))
    imported = sys.modules.get("memocache")
    if imported is not None and not str(imported.__file__).startswith(room):
        status = 99  # the tests ran against another package
    os._exit(status)


class Rooms:
    """Copies of the package and its tests, one a worker."""

    def __init__(self, parent: Path, workers: int) -> None:
        self._parent = parent
        self._timeout = TIMEOUT
        self._free: SimpleQueue[Path] = SimpleQueue()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        for number in range(workers):
            room = parent / str(number)
            for folder in ("memocache", "tests", "docs"):
                shutil.copytree(ROOT / folder, room / folder, ignore=shutil.ignore_patterns("__pycache__"))
            for file in ("pyproject.toml", "SECURITY.md", "README.md"):
                shutil.copy(ROOT / file, room / file)
            compileall.compile_dir(room, quiet=2)
            for module in TESTS:  # a mutant may have the size and the second of the original
                folder, _, name = module.rpartition("/")
                for stale in room.glob(f"memocache/{folder}/__pycache__/{name}.*"):
                    stale.unlink()
            self._free.put(room)

    def status(self, module: str, source: bytes) -> int | None:
        """Pytest's status for the module's tests with this source; None if they did not end."""
        room = self._free.get()
        original = (ROOT / "memocache" / f"{module}.py").read_bytes()
        process = self._context.Process(target=_run, args=(str(room), module, source, TESTS[module]))
        try:
            process.start()
            process.join(self._timeout)
            process.kill()
            process.join()
            return None if process.exitcode == -9 else process.exitcode
        finally:
            (room / "memocache" / f"{module}.py").write_bytes(original)
            self._free.put(room)

    def baseline(self, module: str) -> int | None:
        """The status without a mutant; from now on a mutant of the module has five times as long."""
        self._timeout = TIMEOUT
        begin = time.monotonic()
        status = self.status(module, (ROOT / "memocache" / f"{module}.py").read_bytes())
        self._timeout = 20 + 5 * (time.monotonic() - begin)
        return status

    def survivor(self, mutant: Mutant) -> Mutant | None:
        """The mutant, and a line about it, if no test noticed it; None otherwise."""
        if self.status(mutant.module, mutant.source) != 0:
            return None
        mark = "equivalent" if mutant.name in EQUIVALENT else "SURVIVED"
        print(f"{mark} {mutant.line}: {mutant.name}", flush=True)
        return mutant

    def logs(self) -> list[str]:
        """What pytest last said in each room."""
        return [log.read_text()[-2000:] for log in self._parent.glob("*/log")]


def main() -> int:
    """Run, and return how many survivors are not explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"one of {', '.join(TESTS)}")
    parser.add_argument("--lines", default="1-100000", help="only mutants of these lines, such as 10-40")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    first, last = map(int, options.lines.split("-"))
    unexplained = 0
    sys.dont_write_bytecode = True  # a mutant may have the size and the second of the one before
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with tempfile.TemporaryDirectory() as parent, ThreadPoolExecutor(options.workers) as pool:
        rooms = Rooms(Path(parent), options.workers)
        for module in options.modules or TESTS:
            source = (ROOT / "memocache" / f"{module}.py").read_bytes()
            if (status := rooms.baseline(module)) != 0:
                print(f"{module}: its tests fail without a mutant (status {status})", *rooms.logs(), sep="\n")
                return 1
            made = [mutant for mutant in mutants(module, source) if first <= mutant.line <= last]
            survivors = [mutant for mutant in pool.map(rooms.survivor, made) if mutant is not None]
            explained = sum(mutant.name in EQUIVALENT for mutant in survivors)
            killed = len(made) - len(survivors)
            print(f"{module}: {len(made)} mutants, {killed} killed, {explained} equivalent", flush=True)
            unexplained += len(survivors) - explained
    return unexplained


if __name__ == "__main__":
    sys.exit(min(main(), 100))
