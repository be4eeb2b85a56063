"""Measure features from daily attendance: ours beside vectorised pandas, Polars, DuckDB and a bare scan.

A made-up term of 100 school days: one record for each student and day, in the order of the days, in a Parquet file
with text ids and row groups of a million. Ours gives its eight measures (`attendance_features`); the others give three
of them, which cost most: the absence rate, the absences of the last 20 days, the longest absence. Their answers have to
be ours. Each runs in a process of its own, in turn, round after round: first on a thousand students, so that
imports and machine code are there, then on all, timed.

    python benchmarks/features.py [--full] [--students N ...] [--rounds N] [--threads N] [--peers NAME ...]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from accuracy import library_version, peak_mib
from rich.console import Console
from rich.progress import track
from rich.table import Table

LIBRARIES = ("numpy", "pandas", "pyarrow", "numba", "polars", "duckdb")
DAYS = pd.bdate_range("2022-02-21", periods=100)
CODES, SHARES = ("P", "N", "X", "L", "A", "U", "S"), (0.9, 0.02, 0.0, 0.02, 0.02, 0.02, 0.02)
ABSENT, SAID = ("S", "A", "U"), ("P", "L", "A", "U", "S")
GROUP_ROWS = 1 << 20
COMPARED = ("absence_rate", "absent_days_20", "longest_absence")


def write_records(path: Path, n: int) -> None:
    """Write the records of `n` students."""
    random = np.random.default_rng(0)
    ids, codes = pa.array([f"S{number:09d}" for number in range(n)]), pa.array(CODES)
    schema = pa.schema([("student_id", pa.string()), ("date", pa.date32()), ("code", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for day in DAYS.date:
            code = codes.take(pa.array(random.choice(len(CODES), n, p=SHARES)))
            rows = pa.table([ids, pa.array([day] * n, pa.date32()), code], schema=schema)
            writer.write_table(rows, row_group_size=GROUP_ROWS)


def ours(path: Path, n: int, threads: int) -> pd.DataFrame:
    """Return our eight measures."""
    from dropout_risk.attendance import attendance_features

    ids = pa.array([f"S{number:09d}" for number in range(n)]).to_pandas()
    return attendance_features(path, ids, as_of=DAYS[-1], start=DAYS[0], threads=threads)


def with_pandas(path: Path, n: int, threads: int) -> pd.DataFrame:
    """Return the three measures by vectorised pandas."""
    records = pd.read_parquet(path, columns=["student_id", "date", "code"])
    records = records.sort_values(["student_id", "date"], kind="stable")
    absent = records["code"].isin(ABSENT)
    known = records.assign(absent=absent, said=records["code"].isin(SAID))
    known["recent"] = known["date"] >= DAYS[-20].date()
    said = known[known["said"]]
    run = (~said["absent"]).groupby(said["student_id"], sort=False).cumsum()
    length = said["absent"].groupby([said["student_id"], run], sort=False).sum()
    groups = said.groupby("student_id", sort=False)
    return pd.DataFrame(
        {
            "absence_rate": groups["absent"].mean(),
            "absent_days_20": said["absent"].where(said["recent"]).groupby(said["student_id"], sort=False).sum(),
            "longest_absence": length.groupby(level=0, sort=False).max(),
        }
    ).astype(float)


def with_polars(path: Path, n: int, threads: int) -> pd.DataFrame:
    """Return the three measures by a lazy Polars query."""
    import polars as pl

    absent, student = pl.col("code").is_in(ABSENT), pl.col("student_id")
    said = pl.scan_parquet(path).filter(pl.col("code").is_in(SAID)).sort("student_id", "date")
    said = said.with_columns(absent=absent, run=(~absent).cast(pl.Int32).cum_sum().over("student_id"))
    recent = pl.col("date") >= DAYS[-20].date()
    runs = said.group_by("student_id", "run").agg(
        length=pl.col("absent").sum(),
        said=pl.len(),
        recent=(pl.col("absent") & recent).sum(),
    )
    found = runs.group_by(student).agg(
        absence_rate=pl.col("length").sum() / pl.col("said").sum(),
        absent_days_20=pl.col("recent").sum().cast(pl.Float64),
        longest_absence=pl.col("length").max().cast(pl.Float64),
    )
    return found.collect().to_pandas().set_index("student_id")


def with_duckdb(path: Path, n: int, threads: int) -> pd.DataFrame:
    """Return the three measures by SQL window functions."""
    import duckdb

    with duckdb.connect(config={"threads": threads}) as base:
        query = f"""
            with said as (
              select student_id, date, code in {ABSENT} as absent,
                sum((code not in {ABSENT})::int) over (partition by student_id order by date) as run
              from read_parquet('{path}') where code in {SAID}
            ), runs as (
              select student_id, run, sum(absent::int) as length, count(*) as n,
                sum((absent and date >= date '{DAYS[-20].date()}')::int) as recent
              from said group by all
            )
            select student_id, sum(length) / sum(n) as absence_rate, sum(recent)::double as absent_days_20,
              max(length)::double as longest_absence
            from runs group by student_id
        """
        return base.execute(query).df().set_index("student_id")


def bare_scan(path: Path, n: int, threads: int) -> pd.DataFrame:
    """Read the same columns and do nothing with them."""
    pa.set_cpu_count(threads)
    for _ in pq.ParquetFile(path).iter_batches(1 << 17, columns=["student_id", "date", "code"]):
        pass
    return pd.DataFrame()


OURS, SCAN = "ours, eight measures", "bare scan of the file"
CONTESTANTS: dict[str, Callable[[Path, int, int], pd.DataFrame]] = {
    OURS: ours,
    "pandas, vectorised": with_pandas,
    "Polars, lazy": with_polars,
    "DuckDB, SQL": with_duckdb,
    SCAN: bare_scan,
}


def run_once(options: argparse.Namespace) -> dict[str, float]:
    """Let one contestant measure, warm; return its time, the peak of its memory and its answer's digest."""
    measure = CONTESTANTS[options.run]
    measure(options.small, 1_000, options.threads)
    start = time.perf_counter()
    found = measure(options.source, options.count, options.threads)
    seconds = time.perf_counter() - start
    if options.answer and len(found):
        found.sort_index()[list(COMPARED)].to_parquet(options.answer)
    return {"seconds": seconds, "peak_mib": peak_mib()}


def run(name: str, files: dict[int, Path], n: int, options: argparse.Namespace, answer: Path) -> dict[str, float]:
    """Run one contestant in a process of its own."""
    words = [sys.executable, __file__, "--run", name, "--source", files[n], "--small", files[1_000], "--count", n]
    words += ["--threads", options.threads, "--answer", answer]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(options.threads)}
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    if options.run:
        print(json.dumps(run_once(options)))
        return 0
    out = Console(width=max(110, Console().width))
    libraries = ", ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
    out.print(f"{os.cpu_count()} cores, {options.threads} thread(s); {libraries}")
    results = {}
    with tempfile.TemporaryDirectory() as name:
        files = {n: Path(name) / f"attendance-{n}.parquet" for n in sorted({1_000, *options.students})}
        for n, path in track(files.items(), description="make records", console=Console(stderr=True)):
            write_records(path, n)
        for n in options.students:
            results[n] = measure_all(files, n, options)
            out.print(table(n, results[n], options))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def measure_all(files: dict[int, Path], n: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the medians of all contestants, whose answers have to be the same."""
    names = [OURS, *options.peers, SCAN]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    answers = {name: files[n].with_suffix(f".{place}.answer") for place, name in enumerate(names)}
    for _ in track(range(options.rounds), description=f"{n:,} students", console=Console(stderr=True)):
        for name in names:
            found[name].append(run(name, files, n, options, answers[name]))
    expected = pd.read_parquet(answers[OURS])
    for name in options.peers:
        theirs = pd.read_parquet(answers[name]).set_axis(expected.index)
        pd.testing.assert_frame_equal(
            theirs[list(COMPARED)], expected, check_exact=False, rtol=1e-12, check_dtype=False
        )
    ratio = {
        name: median(its["seconds"] / our["seconds"] for its, our in zip(each, found[OURS], strict=True))
        for name, each in found.items()
    }
    return {
        name: {"ratio": ratio[name], **{key: median(one[key] for one in each) for key in each[0]}}
        for name, each in found.items()
    }


def table(n: int, found: dict[str, dict[str, float]], options: argparse.Namespace) -> Table:
    """Return the table of one number of students."""
    result = Table(
        title=f"{n:,} students × {len(DAYS)} days = {n * len(DAYS):,} records",
        caption=f"ratio: its time divided by ours; medians of {options.rounds} rounds in turn; answers agree",
    )
    result.add_column("contestant")
    for column in ("ratio", "seconds", "records per second", "peak MiB"):
        result.add_column(column, justify="right", no_wrap=True)
    for name, figures in found.items():
        rate = n * len(DAYS) / figures["seconds"]
        cells = (f"×{figures['ratio']:.2f}", f"{figures['seconds']:.2f}", f"{rate:,.0f}", f"{figures['peak_mib']:,.0f}")
        result.add_row(name, *cells)
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; what is not given follows from `--full`."""
    peers = [name for name in CONTESTANTS if name not in (OURS, SCAN)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="5 and 50 million records, not 2 million")
    parser.add_argument("--students", type=int, nargs="+", help="numbers of students")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    for name in ("--source", "--small", "--answer"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.students = options.students or ([50_000, 500_000] if options.full else [20_000])
    options.rounds = options.rounds or 3
    return options


if __name__ == "__main__":
    sys.exit(main())
