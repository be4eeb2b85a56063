"""What the routes share: settings, store, model, line, figures; made once for each process."""

from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

from starlette.requests import Request

from dropout_risk.applicability import Limits
from dropout_risk.errors import StoreError
from dropout_risk.service.metrics import Metrics
from dropout_risk.service.models import Models
from dropout_risk.service.settings import Settings
from dropout_risk.service.signing_in import Reception
from dropout_risk.service.tokens import Tokens
from dropout_risk.service.waiting import Line
from dropout_risk.store.database import Database
from dropout_risk.store.keys import Doorkeeper
from dropout_risk.store.migrations import prepare
from dropout_risk.store.runs import Pseudonyms, pseudonyms


@dataclass(eq=False)
class State:
    """Everything that answers to requests need."""

    settings: Settings
    metrics: Metrics = field(default_factory=Metrics)
    _prepared: bool = False
    _turn: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        settings = self.settings
        # Each of several processes tells its own state at every look; the one that is asked tells it at once.
        self.models = Models(settings, after_look=self.measure)
        self.line = Line(
            max_waiting=settings.max_waiting, max_seconds=settings.max_seconds, when_full=self.metrics.busy.inc
        )
        self.limits = Limits(settings.min_coverage, settings.max_attendance_age_days)
        self._database = Database(settings.store)
        tokens = None
        if settings.oidc_issuer and settings.oidc_audience and settings.oidc_keys:
            tokens = Tokens(settings.oidc_issuer, settings.oidc_audience, settings.oidc_keys)
        self.reception = Reception(Doorkeeper(self._database), tokens, local=settings.access == "local")

    def open_store(self) -> Database:
        """Return the store; when it is first used its tables are made, or are found to be of this version.

        Raises
        ------
        StoreError
            If it does not answer, or is of another version.
        """
        if not self._prepared:
            with self._turn:
                if not self._prepared:
                    prepare(self._database)
                    self._prepared = True
        return self._database

    @property
    def database(self) -> Database:
        """The store, ready for use; see `open_store`."""
        return self.open_store()

    def store_trouble(self) -> str | None:
        """Return why the store cannot be used, None when it answers."""
        try:
            with self.database.reading() as session:
                session.connection()
        except StoreError as error:
            return str(error)
        return None

    def measure(self) -> None:
        """Set the figures that tell the present state: who waits, the model, drift."""
        figures, models = self.metrics, self.models
        figures.waiting.set(self.line.waiting)
        figures.model_age.set(models.age_seconds())
        figures.model_stale.set(float(models.current is not None and models.trouble is not None))
        figures.model_swaps.set(models.swaps)
        indices = models.current.drift.indices() if models.current else {}
        figures.note_drift(indices, self.settings.drift_alarm)

    @cached_property
    def named(self) -> Pseudonyms:
        """What gives students their pseudonyms."""
        return pseudonyms(self.database)

    def close(self) -> None:
        """Stop looking for models, and close the store."""
        self.models.stop()
        self._database.close()


def state_of(request: Request) -> State:
    """Return what the routes of this application share."""
    state: State = request.app.state.service
    return state
