"""Every exception that this package raises on purpose, with its HTTP status and exit code.

::

    DropoutRiskError                    exit 1  HTTP 500
    ├── InputError (ValueError)         exit 2  HTTP 422  what was sent cannot be used as it is
    │   ├── TableError                  a file or a table cannot be read
    │   ├── ColumnsError                columns are missing, unknown or in another order
    │   └── SettingsError               an option, or a combination of options, makes no sense
    ├── BundleError                     exit 3  HTTP 503  a saved model is damaged or from a later version
    ├── RegistryError                   exit 3  HTTP 503  the model registry does not answer, or lacks it
    ├── EngineError                     exit 6  HTTP 503  an engine (processes, Dask, Spark) has lost its work
    ├── StoreError                      exit 7  HTTP 503  the database of keys, runs and audit does not answer
    ├── AccessError                     exit 8  HTTP 403  this key or token may not do this
    │   └── SignInError                 exit 8  HTTP 401  no key or token, or one that does not count
    ├── MissingExtraError (ImportError) exit 4  HTTP 500  an optional library is not installed
    └── GateError                       exit 5  HTTP 409  a model may not be released as it is

One `except DropoutRiskError` catches all of them:

>>> try:
...     raise TableError("attendance.csv, row 7: the date is empty; fill it in or delete the row.")
... except DropoutRiskError as error:
...     print(error.exit_code, error)
2 attendance.csv, row 7: the date is empty; fill it in or delete the row.
"""


class DropoutRiskError(Exception):
    """Root of all errors of this package; its text is a sentence for the person who has to act."""

    exit_code = 1
    http_status = 500
    title = "Something went wrong"


class InputError(DropoutRiskError, ValueError):
    """What was sent cannot be used as it is; the text says what to change."""

    exit_code = 2
    http_status = 422
    title = "The input cannot be used as it is"


class TableError(InputError):
    """A file or a table cannot be read, or lacks what the job needs."""

    title = "A table cannot be used"


class ColumnsError(InputError):
    """Columns are missing, unknown or in another order than the model learned."""

    title = "The columns do not fit the model"


class SettingsError(InputError):
    """An option, or a combination of options, makes no sense."""

    title = "The settings do not fit together"


class BundleError(DropoutRiskError):
    """A saved model is damaged, incomplete, or was written by a later version."""

    exit_code = 3
    http_status = 503
    title = "The saved model cannot be used"


class RegistryError(DropoutRiskError):
    """The model registry does not answer, or holds no such model."""

    exit_code = 3
    http_status = 503
    title = "The model registry cannot be used"


class EngineError(DropoutRiskError):
    """An engine is not there, or has given up: a worker that dies again and again, a cluster that is gone."""

    exit_code = 6
    http_status = 503
    title = "The work could not be run"


class StoreError(DropoutRiskError):
    """The database of keys, runs and audit does not answer, or is of another version than this package."""

    exit_code = 7
    http_status = 503
    title = "The store cannot be used"
    retry_after = 5
    """Seconds after which it is worth while to ask again."""


class AccessError(DropoutRiskError):
    """What this key or token may not do; the text says why, and holds nothing about the data."""

    exit_code = 8
    http_status = 403
    title = "This is not allowed"


class SignInError(AccessError):
    """There is no key or token, or it does not count."""

    http_status = 401
    title = "A valid key is needed"


class MissingExtraError(DropoutRiskError, ImportError):
    """An optional library is not installed; the text is the command that installs it."""

    exit_code = 4
    title = "An optional library is not installed"

    @classmethod
    def of(cls, library: str, extra: str) -> "MissingExtraError":
        """Return the error for `library`, which the extra named `extra` installs."""
        words = f"pip install 'dropout-risk[{extra}]', or '.[{extra}]' in a copy of the sources"
        return cls(f"This needs {library}, which is not installed: {words}.")


class GateError(DropoutRiskError):
    """A model fails the release gate; the text holds every condition with its figure and what to do."""

    exit_code = 5
    http_status = 409
    title = "The model may not be released"
