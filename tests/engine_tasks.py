"""What the tests of the engines send to workers: it has to be importable there."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from dropout_risk.errors import ColumnsError


@dataclass(frozen=True)
class Doubled:
    """Doubles x, and leaves a file for each time it runs."""

    folder: str
    dies_at: int = -1
    fails_at: int = -1

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        number = batch["number"][0].as_py()
        runs = sorted(Path(self.folder).glob(f"{number}-*"))
        (Path(self.folder) / f"{number}-{len(runs)}").touch()
        if number == self.dies_at and not runs:
            time.sleep(0.2)
            os._exit(17)
        if number == self.fails_at:
            raise ColumnsError("The table lacks x; add it.")
        return pa.RecordBatch.from_pydict({"number": [number], "x": [2 * sum(batch["x"].to_pylist())]})


def fault(batch: pa.RecordBatch) -> pa.RecordBatch:
    raise RuntimeError("this function is broken")


@dataclass(frozen=True)
class Misbehaving:
    """Leaves a file for each time it runs; every fourth partition kills its worker once, or one says what it should."""

    folder: str
    says: str = ""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        number = batch["number"][0].as_py()
        runs = len(list(Path(self.folder).glob(f"{number}-*")))
        (Path(self.folder) / f"{number}-{runs}").touch()
        if number == 1 and self.says == "plain":
            raise ValueError("number is one")
        if number == 1 and self.says == "unpicklable":
            raise TwoWords("number", "one")
        if number % 4 == 1 and not self.says and not runs:
            time.sleep(0.2)  # a worker that dies as it starts is Dask's to bring back, which takes it long
            os._exit(17)
        return pa.RecordBatch.from_pydict({"number": [number], "x": [2 * sum(batch["x"].to_pylist())]})


class TwoWords(Exception):
    """Pickles, but cannot be read again: it wants two words and its arguments are one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} is {second}")
