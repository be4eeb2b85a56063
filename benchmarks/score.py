"""Measure scoring from file to file: 10,000 to 10 million students, beside pred_contrib, on each engine.

Each run is a new process, as the command line is one: it reads a Parquet file of term features and writes risk,
band, rank and the five strongest reasons of every student (`score_in_bulk`). `pred_contrib` is the same run with
LightGBM's own contributions in the place of ours; its time per student does not depend on how many there are, so it
takes fewer. Seconds count from the first partition to the manifest; start-up (imports, the model, machine code) is
told apart. Students are drawn from a made-up county with some of their figures shaken. `from daily records` is the same
run with the features of attendance measured from a Parquet file of one record for each student and day of a term.

    python benchmarks/score.py [--full] [--sizes N ...] [--rounds N] [--workers N] [--engines NAME ...]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from accuracy import library_version, peak_mib
from rich.console import Console
from rich.progress import track
from rich.table import Table

LIBRARIES = ("numpy", "pyarrow", "numba", "lightgbm", "dask", "pyspark")
MODEL, DATA, AS_OF = "models/demo", "data/synthetic", "2022-07-08"
SHAKEN = ("absence_rate", "distance_km", "travel_minutes", "score_level", "score_lowest", "school_absence_rate")
GROUP_ROWS = 50_000
"""Rows of a row group; fewer in small files, so that every worker has something to do."""
DAYS = 100
PEER_ROWS = 20_000
"""Students of the runs with pred_contrib."""


def write_features(path: Path, n: int) -> None:
    """Write the features of `n` students."""
    from dropout_risk.county import load_county
    from dropout_risk.pipeline import roster_features

    real = roster_features(load_county(DATA), pd.Timestamp(AS_OF))
    random = np.random.default_rng(0)
    with pq.ParquetWriter(path, pa.Schema.from_pandas(real, preserve_index=False), compression="zstd") as writer:
        step = min(GROUP_ROWS, n // 16 + 1)
        for start in range(0, n, step):
            size = min(step, n - start)
            rows = real.iloc[random.integers(0, len(real), size)].reset_index(drop=True)
            rows["student_id"] = [f"S{number:09d}" for number in range(start, start + size)]
            rows[list(SHAKEN)] *= random.uniform(0.8, 1.2, (size, len(SHAKEN)))
            writer.write_table(pa.Table.from_pandas(rows, preserve_index=False))


def write_records(path: Path, n: int) -> None:
    """Write a record of each of `n` students for each of `DAYS` days, in the order of the days."""
    random = np.random.default_rng(1)
    ids = pa.array([f"S{number:09d}" for number in range(n)])
    codes = pa.array(["P", "A", "U", "S", "L", "N"])
    schema = pa.schema([("student_id", pa.string()), ("date", pa.date32()), ("code", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for day in pd.bdate_range("2022-02-21", periods=DAYS).date:
            code = codes.take(pa.array(random.choice(6, n, p=[0.93, 0.02, 0.01, 0.02, 0.01, 0.01])))
            writer.write_table(pa.table([ids, pa.array([day] * n, pa.date32()), code], schema=schema))


def with_pred_contrib() -> None:
    """Put LightGBM's own contributions in the place of ours, in this process."""
    from dropout_risk import batch
    from dropout_risk.explanation import largest_groups

    def strongest(scoring: Any, matrix: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        model = scoring.bundle.model
        own = [one.predict(matrix, pred_contrib=True, num_threads=1) for one in model.boosters_]
        parts = model.calibration_.slope * np.mean(own, axis=0)
        index, value = largest_groups(parts[:, :-1], scoring.owner, k)
        return index, value, 1 / (1 + np.exp(-(parts.sum(axis=1) + model.calibration_.intercept)))

    batch._Scoring.strongest = strongest


def run_once(options: argparse.Namespace) -> dict[str, float]:
    """Score one file in this process; return seconds and the peak of its memory."""
    start = time.perf_counter()
    from dropout_risk.batch import batch_scorer
    from dropout_risk.bulk import score_in_bulk
    from dropout_risk.bulk.daily import DailyAttendance
    from dropout_risk.bundle import load_bundle
    from dropout_risk.engines import engine

    bundle = load_bundle(MODEL)
    if options.pred_contrib:
        with_pred_contrib()
    batch_scorer(MODEL, bundle).warm_up()
    with tempfile.TemporaryDirectory() as folder, engine(options.engine, workers=options.workers) as made:
        if options.engine != "local":  # the workers, too, read and compile the model before the clock starts
            score_in_bulk(options.warm, bundle, Path(folder) / "warm", made)
        begun = time.perf_counter()
        daily = DailyAttendance(str(options.records), "2022-02-21") if options.records else None
        done = score_in_bulk(options.source, bundle, Path(folder) / "out", made, as_of=AS_OF, attendance=daily)
        seconds = time.perf_counter() - begun
        size = sum(file.stat().st_size for file in (Path(folder) / "out/scores").iterdir())
    assert done.rows_in == done.scored == pq.read_metadata(options.source).num_rows
    return {"seconds": seconds, "start_up": begun - start, "peak_mib": peak_mib(), "rows": done.rows_in, "bytes": size}


def run(
    source: Path, warm: Path, *, engine: str, workers: int, pred_contrib: bool = False, records: Path | None = None
) -> dict[str, float]:
    """Run one configuration in a process of its own."""
    words = [sys.executable, __file__, "--source", source, "--warm", warm, "--engine", engine, "--workers", workers]
    words += ["--pred-contrib"] if pred_contrib else []
    words += ["--records", records] if records else []
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{engine}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    if options.source:
        print(json.dumps(run_once(options)))
        return 0
    out = Console(width=max(140, Console().width))
    out.print(f"{os.cpu_count()} cores, {options.workers} workers; " + ", ".join(map(_version, LIBRARIES)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {n: folder / f"features-{n}.parquet" for n in sorted({PEER_ROWS, 1_000, *options.sizes})}
        for n, path in track(files.items(), description="make students", console=Console(stderr=True)):
            write_features(path, n)
        records = folder / "records.parquet"
        write_records(records, options.engine_size)
        results = measure(files, records, options)
    out.print(table(results, options))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(files: dict[int, Path], records: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Run all configurations in turn, round after round; return the medians."""
    middle = options.engine_size
    runs: dict[str, dict[str, Any]] = {f"local, {n:,} students": {"source": files[n]} for n in options.sizes}
    runs |= {f"{name}, {middle:,} students": {"source": files[middle], "engine": name} for name in options.engines}
    runs[f"local from daily records, {middle:,} students"] = {"source": files[middle], "records": records}
    runs[f"local with pred_contrib, {PEER_ROWS:,} students"] = {"source": files[PEER_ROWS], "pred_contrib": True}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, one in track(runs.items(), description="score", console=Console(stderr=True)):
            settings = {"engine": "local", "workers": options.workers, "warm": files[1_000], **one}
            found[name].append(run(**settings))
    return {name: {key: median(one[key] for one in each) for key in each[0]} for name, each in found.items()}


def table(results: dict[str, dict[str, float]], options: argparse.Namespace) -> Table:
    """Return the table: the time per student relative to the run of `engine_size` on this machine first."""
    per_row = {name: one["seconds"] / one["rows"] for name, one in results.items()}
    base = per_row[f"local, {options.engine_size:,} students"]
    result = Table(
        title=f"from features to risk, band, rank and 5 reasons ({MODEL})",
        caption=f"ratio: time per student divided by that of local, {options.engine_size:,} students; "
        f"medians of {options.rounds} rounds in turn; memory of the main process",
    )
    result.add_column("run")
    for column in ("ratio", "students per second", "us per student", "seconds", "start-up s", "peak MiB", "bytes each"):
        result.add_column(column, justify="right", no_wrap=True)
    for name, one in results.items():
        rate = one["rows"] / one["seconds"]
        cells = [f"×{per_row[name] / base:.2f}", f"{rate:,.0f}", f"{1e6 / rate:.2f}", f"{one['seconds']:.1f}"]
        cells += [f"{one['start_up']:.1f}", f"{one['peak_mib']:,.0f}", f"{one['bytes'] / one['rows']:.0f}"]
        result.add_row(name, *cells)
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; what is not given follows from `--full`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="up to 10 million students, not 100,000")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of students")
    parser.add_argument("--engine-size", type=int, help="number of students for the engines")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--engines", nargs="*", choices=["dask", "spark"], default=["dask", "spark"])
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    for name in ("--source", "--warm", "--records"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--pred-contrib", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.sizes = options.sizes or ([10_000, 100_000, 1_000_000, 10_000_000] if options.full else [10_000, 100_000])
    options.engine_size = options.engine_size or (1_000_000 if options.full else 100_000)
    options.sizes = sorted({*options.sizes, options.engine_size})
    options.rounds = options.rounds or (3 if options.full else 1)
    return options


def _version(name: str) -> str:
    return f"{name} {library_version(name)}"


if __name__ == "__main__":
    sys.exit(main())
