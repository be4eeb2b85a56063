"""The model in use, and how another takes its place while requests are answered."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from threading import Event, Lock, Thread

from starlette.responses import JSONResponse

from dropout_risk.backtest import Backtest
from dropout_risk.bundle import Bundle
from dropout_risk.errors import BundleError, DropoutRiskError
from dropout_risk.registry import model_token
from dropout_risk.service.drift import Drift
from dropout_risk.service.scoring import describe_model, load
from dropout_risk.service.settings import Settings

_NOT_STARTED = "the service is starting"

FIRST_LOOK_SECONDS = 30
"""How long the start waits for the first model; after that it is loaded beside the answers that need none."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that is checked and warm. A request holds on to it to its end, whatever is loaded meanwhile."""

    bundle: Bundle
    token: str
    drift: Drift
    backtest: Backtest | None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, bundle: Bundle, token: str) -> "Loaded":
        """Return a bundle with what is made from it once."""
        backtest = Backtest.from_dict(bundle.backtest) if bundle.backtest else None
        return cls(bundle, token, Drift(bundle.data.get("profile", {})), backtest)

    @cached_property
    def described(self) -> bytes:
        """What people may want to know about it, as JSON; with its card that is long, so it is written once."""
        return bytes(JSONResponse(describe_model(self.bundle)).body)


class Models:
    """Holds the model in use and looks again and again whether there is another.

    The new one is fetched, checked and warmed beside the old one, and then takes its place in one step. Where that
    fails, the old one stays and `trouble` says why.

    Parameters
    ----------
    settings
        Which model, and how often to look.
    fetch, token_of
        How a model is fetched, and what tells it apart from another.
    after_look
        Called after each look.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        fetch: Callable[[Settings], Bundle] = load,
        token_of: Callable[..., str] = model_token,
        after_look: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._fetch, self._token_of, self._after_look = settings, fetch, token_of, after_look
        self._current: Loaded | None = None
        self._trouble: str | None = _NOT_STARTED
        self._turn = Lock()
        self._looked, self._stop = Event(), Event()
        self._thread: Thread | None = None
        self.swaps = 0

    @property
    def trouble(self) -> str | None:
        """Why the newest model is not in use, None when it is."""
        return self._trouble

    @property
    def current(self) -> Loaded | None:
        """The model in use, None while there is none."""
        return self._current

    def require(self) -> Loaded:
        """Return the model in use.

        Raises
        ------
        BundleError
            If there is none.
        """
        if self._current is None:
            raise BundleError(f"No model is loaded: {self._trouble}")
        return self._current

    def refresh(self) -> bool:
        """Look whether there is another model, and put it in use; return whether there was.

        What goes wrong is logged and kept in `trouble`; a model that could not be used is tried again at the next look.
        """
        found = self._refresh()
        try:
            self._after_look()
        except Exception as error:  # a figure that cannot be worked out ends neither the looking nor a request
            _log.error("the figures of the model cannot be told (%s)", type(error).__name__)
        return found

    def _refresh(self) -> bool:
        with self._turn:
            try:
                token = self._token_of(self._settings.model, tracking_uri=self._settings.tracking_uri)
                if self._current is not None and token == self._current.token:
                    self._trouble = None
                    return False
                loaded = Loaded.of(self._fetch(self._settings), token)
                if self._current is not None:
                    _refuse_other_kind(self._current.bundle, loaded.bundle)
            except Exception as error:  # whatever a damaged model raises: the one in use stays, and the looking goes on
                self._say_trouble(error)
                return False
            before, self._current, self._trouble = self._current, loaded, None
            self.swaps += before is not None
            after = f", after {before.bundle.version_label}" if before else ""
            _log.info("model %s is loaded%s", loaded.bundle.version_label, after)
            return True

    def _say_trouble(self, error: Exception) -> None:
        said = str(error) if isinstance(error, DropoutRiskError) else f"it cannot be read ({type(error).__name__})"
        if said != self._trouble:
            kept = f"; {self._current.bundle.version_label} stays in use" if self._current else ""
            _log.error("the model cannot be loaded%s: %s", kept, said)
        self._trouble = said

    def start(self) -> None:
        """Load the model, then go on looking in a thread until `stop`."""
        self._thread = Thread(target=self._watch, name="models", daemon=True)
        self._thread.start()
        self._looked.wait(FIRST_LOOK_SECONDS)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.refresh()
            self._looked.set()
            self._stop.wait(self._settings.poll_seconds)

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def age_seconds(self) -> float:
        """Return how long ago the model in use was trained, NaN while there is none."""
        if self._current is None:
            return float("nan")
        made = datetime.fromisoformat(self._current.bundle.created).replace(tzinfo=UTC)
        return time.time() - made.timestamp()


def _refuse_other_kind(current: Bundle, other: Bundle) -> None:
    """Refuse a model that takes other data than the one in use: who sends data for that one would be refused."""
    names = [sorted(bundle.model.feature_names) for bundle in (current, other)]
    if current.kind != other.kind or names[0] != names[1]:
        raise BundleError(
            f"Model {other.version_label} takes other features than {current.version_label}, which is in use; if that "
            "is meant, tell those who send data, and start the service again."
        )
