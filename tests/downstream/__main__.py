"""Other packages' own tests, with memocache in the place of `functools.lru_cache`: ``python -m tests.downstream``.

Each package's tests run twice, as it is and with memocache, in a virtual environment in a temporary folder that goes
at the end. Printed are the failures that only memocache brings, by kind, and time and memory of both. It downloads
what it runs, so it stands outside of CI. The status is the number of packages with a new failure.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.downstream.packages import PACKAGES, Package

ROOT = Path(__file__).parents[2]
OURS = ("wrapt", "msgpack", "redis")
BUILD = (
    "expandvars",
    "cython",
    "setuptools",
    "setuptools-scm",
    "wheel",
    "hatchling",
    "hatch-vcs",
    "flit-core",
    "poetry-core",
)
RUN = ("pytest", "pytest-timeout", *BUILD, *OURS)


class Outcome(NamedTuple):
    """One run of a package's tests."""

    failed: dict[str, str]
    """The names of tests that failed, and with what."""
    count: int
    seconds: float
    megabytes: float


def main() -> int:
    """Run what the command line names, or all; how many packages have a new failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.downstream", description=__doc__)
    parser.add_argument("names", nargs="*", help="packages (default: all)")
    parser.add_argument("--seconds", type=int, default=300, help="limit of one run of a package's tests")
    parser.add_argument("--keep", type=Path, help="a folder that stays, with the output of each run")
    given = parser.parse_args()
    chosen = [package for package in PACKAGES if not given.names or package.name in given.names]
    worse = 0
    with ExitStack() as stack:
        folder = given.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="memocache-downstream-"))
        python = environment(Path(folder))
        print(f"{'package':<24}{'tests':>7}{'failing':>9}{'new':>5}{'seconds':>17}{'megabytes':>15}", flush=True)
        for package in chosen:
            try:
                worse += report(package, *both(package, python, Path(folder), given.seconds))
            except subprocess.SubprocessError as trouble:
                worse += 1
                print(f"{package.name}=={package.version}: {trouble}", flush=True)
    return worse


def environment(folder: Path) -> Path:
    """A virtual environment; its Python."""
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
        install(python, "--upgrade", *RUN)
    return python


def install(python: Path, *what: str) -> None:
    """Install from PyPI."""
    pip(python, "install", *what)


def pip(python: Path, *words: str) -> None:
    """Run pip; raises `subprocess.CalledProcessError`."""
    subprocess.run([python, "-m", "pip", "-q", "--disable-pip-version-check", *words], check=True, timeout=600)


def both(package: Package, python: Path, folder: Path, seconds: int) -> tuple[Outcome, Outcome]:
    """The package's tests as it is, and with memocache."""
    wanted = f"{package.name}=={package.version}"
    install(python, wanted, *package.needs)
    at = folder
    if not package.inside:
        sdists = folder / package.name
        if not sdists.exists():
            words = ("--no-deps", "--no-build-isolation", "--no-binary", ":all:", "-d", str(sdists))
            pip(python, "download", *words, wanted)
            (archive,) = sdists.glob("*.tar.gz")
            with tarfile.open(archive) as opened:
                opened.extractall(sdists, filter="data")
        (at,) = (found for found in sdists.iterdir() if found.is_dir())
    return run(package, python, at, seconds, ours=False), run(package, python, at, seconds, ours=True)


def run(package: Package, python: Path, at: Path, seconds: int, *, ours: bool) -> Outcome:
    """One run of the tests, where they lie."""
    results = at / f"{package.name}-{'memocache' if ours else 'as-it-is'}.xml"
    results.unlink(missing_ok=True)
    words = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "--continue-on-collection-errors", "--timeout=120"]
    words.append(f"--junitxml={results}")
    words += ["-k", package.skip] if package.skip else []
    words += ["--pyargs"] if package.inside else []
    paths = [str(Path(__file__).parent / "instead"), str(ROOT)]
    own = {"PYTHONPATH": os.pathsep.join(paths), "MEMOCACHE_INSTEAD": ",".join(package.modules) if ours else ""}
    begun = time.monotonic()
    with open(results.with_suffix(".txt"), "w") as told:
        child = subprocess.Popen(
            [python, "-m", "pytest", *words, *package.tests],
            cwd=at, env={**os.environ, **own, "PYTHONHASHSEED": "0"}, stdout=told, stderr=told,
        )  # fmt: skip
        memory = wait(child, seconds)
    if not results.exists():
        raise subprocess.SubprocessError(f"no {results.name}, status {child.returncode}")
    failed, count = read(results)
    return Outcome(failed, count, time.monotonic() - begun, memory)


def wait(child: subprocess.Popen[bytes], seconds: int) -> float:
    """Wait for a process; the megabytes that it had at most. Raises `subprocess.TimeoutExpired`."""
    until = time.monotonic() + seconds
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss / 1024
        if time.monotonic() > until:
            child.kill()
            child.wait()
            raise subprocess.TimeoutExpired("pytest", seconds)
        time.sleep(0.2)


def read(results: Path) -> tuple[dict[str, str], int]:
    """The failed tests of a report in JUnit's format, each with what it failed with, and how many there were."""
    failed, count = {}, 0
    for case in ElementTree.parse(results).iter("testcase"):
        count += 1
        for kind in ("failure", "error"):
            found = case.find(kind)
            if found is not None:
                failed[f"{case.get('classname')}::{case.get('name')}"] = str(found.get("message")).splitlines()[0][:160]
    return failed, count


def report(package: Package, plain: Outcome, ours: Outcome) -> bool:
    """Print a comparison; whether there is a new failure."""
    new = {name: message for name, message in ours.failed.items() if name not in plain.failed}
    lost = plain.count - ours.count
    print(
        f"{package.name + ' ' + package.version:<24}{ours.count:>7}{len(ours.failed):>9}{len(new):>5}"
        f"{plain.seconds:>8.1f}{ours.seconds:>9.1f}{plain.megabytes:>7.0f}{ours.megabytes:>8.0f}"
        + (f"  {lost} tests fewer" if lost else ""),
        flush=True,
    )
    for message, times in Counter(new.values()).most_common():
        print(f"    {times} x {message}")
        for name in [name for name, said in new.items() if said == message][:3]:
            print(f"        {name}")
    return bool(new or lost)


if __name__ == "__main__":
    sys.exit(main())
