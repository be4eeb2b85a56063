"""How the compiled functions of this package are made."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def compiled(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Return `function` compiled by numba, which runs without the interpreter's lock.

    The machine code is kept on disk, beside the source or in the user's cache folder, so that only the first
    process waits for the compiler; where neither can be written, every process compiles for itself.

    Parameters
    ----------
    function : callable
        Of arrays, numbers and tuples of them.

    Returns
    -------
    callable
        Compiled at its first call.
    """
    try:
        return cast(Callable[Arguments, Answer], numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba found no folder that it may write to
        return cast(Callable[Arguments, Answer], numba.njit(nogil=True)(function))
