"""The parts that the routes and /score share: how they are made, started and closed. Nothing else."""

from collections.abc import Callable, Mapping, Sequence

from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import Activation
from nearnorm.service.access import keyring
from nearnorm.service.access.identity_provider import IdentityProvider
from nearnorm.service.access.keyring import Keyring
from nearnorm.service.access.line_quotas import LineQuotas
from nearnorm.service.access.quota import Meter
from nearnorm.service.access.sessions import Sessions
from nearnorm.service.access.shared_limits import SharedLimits
from nearnorm.service.background import Background
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback.alike import KnownLikenesses
from nearnorm.service.feedback.submission.effects import KnownTraffic
from nearnorm.service.feedback.verdict_cache import VerdictCache
from nearnorm.service.follower import Follower
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.metrics.collectors import Figures
from nearnorm.service.retraining.jobs.job_watch import JobWatch
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry
from nearnorm.service.settings import Settings
from nearnorm.service.upkeep.check import StoreWatch
from nearnorm.service.verdict.policies import Policies
from nearnorm.service.webhooks.contents import Explain
from nearnorm.service.webhooks.delivery import Deliverer
from nearnorm.service.webhooks.watch import StateWatch


class Services:
    """Start them before the models are loaded, close them after the last answer."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError for a database URL that cannot be used."""
        self.settings = settings
        self.background = Background()
        self.ledger = Ledger.at(settings.database_url, settings.home)
        quota = Quota(settings.rows_per_second, settings.requests_per_second)
        self.keyring = Keyring(settings.host, settings.allow_anonymous, quota)
        self.line_quotas = LineQuotas()
        self.shared_limits = SharedLimits(self.ledger, self.background, self._meters)
        self.sessions = Sessions(self.ledger, self.keyring, settings.session_hours)
        self.provider = IdentityProvider(settings) if settings.oidc_issuer else None
        bounds = Amount(settings.event_rows, settings.event_bytes)
        self.log = EventLog(self.ledger, settings.audit_rate, bounds, settings.event_days)
        self.job_watch = JobWatch(self.ledger, self.background)
        self.policies = Policies()
        self.deliverer = Deliverer(self.ledger, self.background, settings)
        self.store_watch = StoreWatch(self.ledger, self.background, settings.verify_hours)
        self.verdicts = VerdictCache()
        self.likenesses = KnownLikenesses()
        self.traffic = KnownTraffic()
        self.rule = Rule.of(settings)
        self.follower = Follower(
            self.background,
            self.ledger,
            self.keyring,
            self.sessions,
            self.policies,
            self.verdicts,
            self.line_quotas,
            self.rule if settings.retrain_on_drift else None,
        )

    def start(
        self,
        models: Callable[[], Mapping[str, LoadedModel]],
        figures: Figures | None = None,
        activations: Callable[[], Sequence[Activation]] = tuple,
        is_listening: bool = True,
    ) -> None:
        """Bring the ledger up to date and follow it, as `Follower.start` is told.

        Raises NearnormError where the ledger cannot be opened, or the door would stand open.
        """
        try:
            migrate(self.ledger)
            with self.ledger.read() as connection:
                if is_listening:
                    keyring.check_door(connection, self.settings.host, self.settings.allow_anonymous)
                self.keyring.refresh(connection)
                self.line_quotas.refresh(connection)
        except (LedgerUnavailable, OSError) as error:
            raise NearnormError(f"the ledger cannot be opened: {self.ledger.damage or error}") from None
        self.log.start(self.background)
        self.follower.start(models, figures, activations)
        if is_listening and self.settings.shared_limits:
            self.shared_limits.start()

    def start_webhooks(self, registry: Registry, explain: Explain) -> None:
        """Begin to tell webhooks what happens; `explain` tells a model's reasons."""
        watch = StateWatch(self.ledger, self.policies, registry.residents.traffic, registry.activation_log)
        self.deliverer.start(watch.look, explain)

    def close(self) -> None:
        self.follower.close()
        self.shared_limits.close()
        self.log.stop()
        self.deliverer.close()
        self.store_watch.close()
        self.ledger.close()

    def _meters(self) -> dict[str, Meter]:
        """Of callers and lines."""
        return self.keyring.meters() | self.line_quotas.meters()
