"""Run the command `dropout-risk` in this process, as somebody at a terminal would."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest import mock

from dropout_risk.cli import main


class Run(NamedTuple):
    code: int
    out: str
    err: str


def run_command(*words: object) -> Run:
    """Run the command with these words; return its exit code and what it wrote."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv = ["dropout-risk", *map(str, words)]
    with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Run(code, out.getvalue(), err.getvalue())
