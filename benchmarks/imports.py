"""Measure how long it takes until one can begin: importing the package, its help, a service that is ready.

Each is a new process, in turn, round after round; machine code is on disk already, as after the first use.

    python benchmarks/imports.py [--full] [--rounds N] [--json FILE]
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from accuracy import library_version
from rich.console import Console
from rich.progress import track
from rich.table import Table

LIBRARIES = ("numpy", "pandas", "lightgbm", "shap", "typer", "fastapi")
BASE = "import numpy"
CODE = {
    "nothing": "pass",
    BASE: "import numpy",
    "import dropout_risk": "import dropout_risk",
    "import pandas": "import pandas",
    "import lightgbm": "import lightgbm",
    "import shap": "import shap",
}
HELP, SERVICE = "dropout-risk --help", "a service that is ready"
PATIENCE = 60.0
"""Seconds that a service may take."""


def seconds_of(words: Sequence[str]) -> float:
    """Return the wall time of a process."""
    start = time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def seconds_to_ready() -> float:
    """Return how long `uvicorn serve.app:app` takes until /health/ready answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "uvicorn", "serve.app:app", "--port", str(port), "--log-level", "warning"]
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                raise SystemExit("The service does not get ready; start it by hand to see why: uvicorn serve.app:app")
            time.sleep(0.02)
        return time.perf_counter() - start
    finally:
        process.terminate()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    out = Console(width=max(100, Console().width))
    libraries = ", ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
    out.print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; {libraries}")
    found = measure(options.rounds)
    out.print(table(found, options))
    above = median(a - b for a, b in zip(found["import dropout_risk"], found[BASE], strict=True))
    out.print(f"import dropout_risk takes {above * 1e3:+.0f} ms over importing numpy.")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each, round after round; the first round only fills the disk's cache."""
    words = {name: [sys.executable, "-c", code] for name, code in CODE.items()}
    words[HELP] = [str(Path(sys.executable).with_name("dropout-risk")), "--help"]
    found: dict[str, list[float]] = {name: [] for name in (*words, SERVICE)}
    for number in track(range(rounds + 1), description="start", console=Console(stderr=True)):
        for name in found:
            taken = seconds_to_ready() if name == SERVICE else seconds_of(words[name])
            if number:
                found[name].append(taken)
    return found


def table(found: dict[str, list[float]], options: argparse.Namespace) -> Table:
    """Return the table, ratios to importing numpy first."""
    result = Table(
        title="a new process until",
        caption=f"ratio: its time divided by that of {BASE}; medians of {options.rounds} rounds in turn",
    )
    result.add_column("what")
    for column in ("ratio", "ms"):
        result.add_column(column, justify="right", no_wrap=True)
    for name, each in found.items():
        ratio = median(own / base for own, base in zip(each, found[BASE], strict=True))
        result.add_row(name, f"×{ratio:.2f}", f"{1e3 * median(each):.0f}")
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="15 rounds, not 5")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (15 if options.full else 5)
    return options


if __name__ == "__main__":
    sys.exit(main())
