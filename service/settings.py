"""The service's settings: NEARNORM_ environment variables, read once and passed down."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from nearnorm.models.bundle.signature import TrustedKeys
from nearnorm.models.errors import ConfigError
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.open import open_store
from nearnorm.service.hours import Hours

PREFIX = "NEARNORM_"
YEAR = 366 * 86_400
"""Seconds: no pause is longer, as beyond some clocks end."""
CENTURY = 36_500
"""The same in days, of what is kept."""
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|(?=.*:.*:)[0-9A-Fa-f:.]+")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")


OIDC_CALLBACK = "/sign-in/provider/callback"
_LOOPBACK = re.compile(r"http://(localhost|127\.[0-9.]+|\[::1\])(:\d+)?(/.*)?")


def _check_address(name: str, address: str) -> None:
    """Raises ValueError. What goes there in clear is a secret, on this machine alone it may."""
    if not re.fullmatch(r"https://[^/\s]+\S*", address) and not _LOOPBACK.fullmatch(address):
        raise ValueError(f"{name} is no https:// address")


def listed(value: str) -> list[str]:
    """What a setting names with commas between."""
    return [one.strip() for one in value.split(",") if one.strip()]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Path("var")
    """Where state lives: the model store, the ledger, the logs."""
    model_store: str | None = None
    """The model store: a folder, or s3://bucket/prefix (keys and region by the usual AWS_ variables);
    default: `models` in the home."""
    trusted_keys: str | None = None
    """Public keys, as PEM files with commas between them: a bundle that none of them signed is neither served
    nor retrained, and base data must be what its signature is over. Default: signatures are not looked at."""
    verify_hours: float = Field(default=24.0, ge=0, le=YEAR // 3600)
    """How often one process of all compares the store's versions with their digests; 0: never."""
    database_url: str | None = None
    """The ledger: sqlite:////folder/file.db or postgresql://user@host/name; default: a file in the home."""
    host: str = "127.0.0.1"
    """The address to listen on. Any other than this machine's own wants API keys, or allow_anonymous."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on; 0 takes a free one, which the log tells."""
    http: Literal["fast", "plain"] = "fast"
    """The HTTP connection: `fast` is our own; `plain` is uvicorn's, with the same answers, for when the other
    is in doubt. `plain` bounds no heads, trailers, connections or slow clients, lets a trailer say what the
    head did not, holds nobody back who was refused, loses the body of a request that offers another protocol,
    and tells of what is no HTTP as text: a proxy before it has to see to these."""
    allowed_hosts: str = ""
    """Names besides this machine's own that requests may be sent to (their Host), with commas between them;
    `*.example.com` for all below, `*` for any. Where API keys are needed, any name will do by default."""
    pages: bool = True
    """Whether the service shows pages to people, at / and /review."""
    docs: bool = True
    """Whether /docs shows the HTTP interface in a browser, to be tried there."""
    cors_origins: str = ""
    """Origins (https://desk.example.com), with commas between them, whose pages may read answers and
    write (CORS). None by default."""
    workers: int = Field(default=1, ge=1, le=64)
    """Serving processes on the port. Queues and connections are bounded for each, rates of callers for all
    together; replicas of one process are as good."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run. `cuda`: every node on the GPU, or the service does not start."""
    model_bytes: int = Field(default=512 * 2**20, ge=2**20)
    """About how much memory the models of one process may take. Beyond it the one that was asked for longest
    ago leaves, and is loaded again when it is asked for; the model `default` stays."""
    threads: int | None = Field(default=None, ge=1, le=256)
    """onnxruntime's threads for one batch; default: 1 when serving, every CPU when scoring a file."""
    max_body_bytes: int = Field(default=32 * 2**20, ge=1024)
    """Largest body of a request, after decompression too."""
    max_rows: int = Field(default=10_000, ge=1_000)
    """Most rows in one request."""
    queue_rows: int = Field(default=20_000, ge=1_000)
    """Rows that may wait or be in work at once; beyond it a request is answered with 429."""
    rows_per_second: int | None = Field(default=None, ge=1)
    """Rows a second of a caller whose key has no rate of its own; callers without a key share one rate."""
    requests_per_second: int | None = Field(default=None, ge=1)
    """The same in requests, of whatever route asks for a key."""
    shared_limits: bool = False
    """Both, and the limits of models, count over every process of the ledger that has this set, replicas too,
    within a second or two. Those of NEARNORM_WORKERS have it always."""
    max_headers: int = Field(default=100, ge=10)
    """Most headers in one request."""
    max_header_bytes: int = Field(default=32_768, ge=1024)
    """Largest head of a request: its path and its headers."""
    max_connections: int = Field(default=4096, ge=1)
    """Connections beyond it are answered with 429, but for /healthz and /readyz."""
    idle_seconds: float = Field(default=75.0, gt=0, le=YEAR)
    """A connection without a request is closed after this time."""
    receive_seconds: float = Field(default=30.0, gt=0, le=YEAR)
    """A request that is not whole after this time is answered with 408."""
    send_seconds: float = Field(default=30.0, gt=0, le=YEAR)
    """A client that has not read its answer after this time is cut off."""
    deadline_seconds: float = Field(default=10.0, gt=0, le=YEAR)
    """A request that waited this long is answered with 503 and not computed."""
    stop_seconds: int = Field(default=30, ge=1)
    """How long a stopping service waits for the answers to accepted requests."""
    log_requests: bool = False
    """One log line a request: ids of request, trace, model and kept events, never a record's values."""
    traces: bool = False
    """A span a request by OTLP to where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra otel."""
    webhook_hosts: str = ""
    """Hosts that webhooks may be sent to though they are reached by http:// or by a private address, with
    commas between them: `alertmanager`, or `alertmanager:9093` for that port alone."""
    public_url: str | None = None
    """Where people reach this service's pages: https://desk.example.com. Messages of webhooks link there."""
    allow_anonymous: bool = False
    """Let everybody in who sends no API key, on whatever address."""
    session_hours: float = Field(default=12.0, gt=0, le=24 * 90)
    """How long an analyst who signed in stays so, at most; log out and a revoked key end it before."""
    oidc_issuer: str | None = None
    """The identity provider (OpenID Connect) at which people may sign in to the pages: its issuer, as it
    calls itself. Needs the extra oidc, oidc_redirect_uri and oidc_keys."""
    oidc_client_id: str = "nearnorm"
    """What the service is called there."""
    oidc_client_secret: SecretStr | None = None
    """Its secret there; without one it is a public client. PKCE is used either way."""
    oidc_redirect_uri: str | None = None
    """Where the provider leads people back to: https://desk.example.com/sign-in/provider/callback, as it is
    registered there."""
    oidc_scope: str = "openid profile"
    """What is asked for; some providers tell groups only by a scope of their own."""
    oidc_name: str = "preferred_username"
    """The claim that becomes the analyst's name: one that people cannot change themselves."""
    oidc_keys: str = ""
    """The name of the API key whose roles and quota they have: one for everybody (`desk`), or by the groups
    of their token, the first that fits (`oncall=ops,fraud=desk`)."""
    audit_rate: float = Field(default=0.01, ge=0, le=1)
    """The part of all traffic kept at random, beside every alert; below 1, at most 200 rows a second."""
    event_rows: int = Field(default=1_000_000, ge=1)
    """Most events kept. Beyond it every caller keeps a fair share, and of that the newest; alerts that nobody
    has judged go last. Labels keep their own copy of the record."""
    event_bytes: int = Field(default=4 * 2**30, ge=2**20)
    """The same in bytes, indexes about counted in."""
    event_days: float = Field(default=30.0, gt=0, le=CENTURY)
    """How long an event is kept."""
    reference_reviews: int = Field(default=50, ge=0, le=200)
    """Rows at the top of a new model's reference that `GET /queue` offers first; an anomaly that people find
    among them leaves the reference at once, and no longer holds the threshold up."""
    analyst_labels_per_hour: int = Field(default=10_000, ge=1)
    """Most labels an hour of one analyst; beyond it a request is answered with 429."""

    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How `nearnorm stream` talks to its brokers."""
    kafka_ca: Path | None = None
    """The authority that signed their certificates, a PEM file; default: those that this machine knows."""
    kafka_certificate: Path | None = None
    """Our certificate, where they want one: a PEM file."""
    kafka_key: Path | None = None
    """Its private key, unless that is in the same file."""
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How we say who we are, where kafka_security is of SASL."""
    kafka_user: str | None = None
    """Our name there."""
    kafka_password: SecretStr | None = None
    """Our password there."""
    kafka_session_seconds: float = Field(default=10.0, ge=1, le=YEAR)
    """After this time without a word from a streamer others take its partitions over."""
    schema_registry: str | None = None
    """The schema registry that a streamer asks, for messages in its wire format: http://registry:8081, with
    user:password@ before the host if need be."""

    worker: Literal["auto", "off"] = "auto"
    """Whether `nearnorm serve` starts a worker beside itself, where the extra training is installed."""
    trainings_at_once: int | None = Field(default=None, ge=1)
    """Most retrainings that the workers of one ledger run at a time; default: one each."""
    training_threads: int | None = Field(default=None, ge=1)
    """Threads of a retraining's numerical libraries; default: as many as the machine has CPUs."""
    training_hours: str = ""
    """When retrainings begin that labels or drift asked for: 22:00-06:00, in UTC. Those that a person asks
    for begin at once."""
    signing_key: Path | None = None
    """Private key, a PEM file, by which the worker signs what it trains."""
    training_data: str | None = None
    """Base data of retrainings of the model `default`; default: what `nearnorm train` recorded in the
    champion's manifest. Other models have theirs by `nearnorm models create`."""
    reference_data: str | None = None
    """Rows known to be normal that calibrate them; default: what `nearnorm train --reference` recorded in the
    champion's manifest, if anything."""
    training_config: Path | None = None
    """Their recipe, as for `nearnorm train --config`; default: the champion's own."""
    training_seconds: float = Field(default=3600.0, gt=0, le=YEAR)
    """A training that takes longer is ended, and its job fails."""
    training_silence_seconds: float = Field(default=600.0, gt=0, le=YEAR)
    """A training that tells of no progress for so long hangs: it is ended, and its job fails."""
    retrain_after: int = Field(default=20, ge=1)
    """Records with a new verdict that make a retraining due."""
    retrain_pause_seconds: float = Field(default=0.0, ge=0, le=YEAR)
    """The least time between the end of a retraining and the next one that labels make due."""
    retrain_on_drift: bool = False
    """Retrain, once a version, when a drift has lasted for 32,000 rows."""
    retrain_traffic_rows: int = Field(default=10_000, ge=0)
    """Rows of recent traffic (the audit slice) that a retraining learns from."""
    gate: Literal["measured", "auto", "manual"] = "measured"
    """Which accepted models serve at once: those that could be measured, all of them (auto), or none
    (manual); the others wait for POST /models/{version}/activate."""
    second_opinion_below: float = Field(default=95.0, ge=0, le=100)
    """A record below this percentile that is called an anomaly waits for a second opinion before it trains;
    0: no label waits."""
    watch: Literal["off", "tell", "rollback"] = "tell"
    """What becomes of a version that the loop put into service and that is clearly worse than the one before:
    it is told, or rolled back as well; off: nobody looks."""
    watch_seconds: float = Field(default=86_400.0, gt=0, le=YEAR)
    """How long after its activation such a version is compared with the one before."""
    shadow_seconds: float = Field(default=0.0, ge=0, le=YEAR)
    """How long an accepted model scores live traffic beside the champion before it may serve; 0: not at
    all."""
    shadow_rows: int = Field(default=10_000, ge=1)
    """Kept events after which such a period is over before its time."""

    @model_validator(mode="after")
    def _one_request_fits_into_the_queue(self) -> "Settings":
        if self.queue_rows < self.max_rows:
            raise ValueError("queue_rows is smaller than max_rows: one large request could never enter")
        return self

    @model_validator(mode="after")
    def _a_provider_is_told_whole(self) -> "Settings":
        if self.oidc_issuer is not None:
            _check_address("oidc_issuer", self.oidc_issuer)
            _check_address("oidc_redirect_uri", self.oidc_redirect_uri or "")
            if not str(self.oidc_redirect_uri).endswith(OIDC_CALLBACK):
                raise ValueError(f"oidc_redirect_uri ends with {OIDC_CALLBACK}")
            if not listed(self.oidc_keys):
                raise ValueError("oidc_keys is empty: name the API key whose roles people have")
        return self

    @model_validator(mode="after")
    def _links_lead_here(self) -> "Settings":
        if self.public_url is not None:
            _check_address("public_url", self.public_url)
            if "?" in self.public_url or "#" in self.public_url:
                raise ValueError("public_url has nothing behind its path")
        return self

    @property
    def is_public_by_https(self) -> bool:
        """Whether browsers are known to come by https."""
        return (self.oidc_redirect_uri or "").startswith("https://")

    def read_trusted_keys(self) -> TrustedKeys | None:
        """None: signatures are not looked at. Raises ConfigError for a key that cannot be read."""
        if not self.trusted_keys:
            return None
        return TrustedKeys([Path(name) for name in listed(self.trusted_keys)])

    @field_validator("webhook_hosts")
    @classmethod
    def _hosts_are_hosts(cls, value: str) -> str:
        for host in listed(value):
            if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?|[0-9a-fA-F:.]+", host):
                raise ValueError(f"{host!r} is no host: write `alertmanager` or `alertmanager:9093`")
        return value

    @field_validator("training_hours")
    @classmethod
    def _hours_are_hours(cls, value: str) -> str:
        if value:
            Hours.of(value)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_names(cls, value: str) -> str:
        for name in listed(value):
            if not _HOST.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no name of a host: give names with commas between them, without scheme, "
                    "port or quotes; *.example.com stands for all below, * for any"
                )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_exact(cls, value: str) -> str:
        for origin in listed(value):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin: it is scheme://host or scheme://host:port, in small letters"
                )
        return value

    def open_store(self) -> ModelStore:
        """Raises ConfigError where NEARNORM_MODEL_STORE cannot be used."""
        return open_store(self.model_store or str(self.home / "models"), self.home / "copies")


CLIENTS_OWN = frozenset((PREFIX + "URL", PREFIX + "API_KEY"))
"""Of nearnorm.Client: where it runs beside a service, they are no mistake."""
KNOWN = frozenset(PREFIX + name.upper() for name in Settings.model_fields)
_LINKED = re.compile(r"(tcp|udp|sctp)://")
_LINK = re.compile(PREFIX + r"(\w+_)?PORT(_\d+_(TCP|UDP|SCTP))?")
_LINK_NAMES = r"(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?|NAME|ENV_\w+)"


def service_links(environment: Mapping[str, str]) -> set[str]:
    """Variables that Kubernetes, or `docker run --link`, sets for a Service named nearnorm or nearnorm-*.

    They are named as settings are, NEARNORM_PORT first; values such as tcp://host:port tell them apart.
    """
    links: set[str] = set()
    for name, value in environment.items():
        link = _LINK.fullmatch(name)
        if link and _LINKED.match(value):
            of_service = re.compile(PREFIX + (link[1] or "") + _LINK_NAMES)
            links |= {other for other in environment if of_service.fullmatch(other)}
    return {name for name in links if name not in KNOWN or _LINKED.match(environment[name])}


def _alike(variable: str) -> str:
    """What a misspelt variable may have meant."""
    from difflib import get_close_matches  # it costs a start eight milliseconds

    names = [name.removeprefix(PREFIX) for name in sorted(KNOWN)]
    alike = get_close_matches(variable.upper().removeprefix(PREFIX), names, n=3)
    if alike:
        return f"did you mean {' or '.join(PREFIX + name for name in alike)}?"
    return f"known are {', '.join(sorted(KNOWN))}"


def load_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the environment; what is `given` goes before it.

    Service links are left out, with a line on stderr: no process of a pod could start with them.
    Raises ConfigError for an unknown or unfit variable, by its name.
    """
    links = service_links(os.environ)
    if links:
        sys.stderr.write(
            f"nearnorm: {min(links)} and {len(links) - 1} more variables are service links of Kubernetes or "
            "docker, not settings, and are left out: set `enableServiceLinks: false` in the pod\n"
        )
    unknown = sorted(
        key
        for key in os.environ
        if key.upper().startswith(PREFIX) and key.upper() not in KNOWN | CLIENTS_OWN and key not in links
    )
    if unknown:
        raise ConfigError(f"unknown environment variable {unknown[0]}: {_alike(unknown[0])}")
    unset = {"port": Settings.model_fields["port"].default} if PREFIX + "PORT" in links else {}
    try:
        return Settings(**(unset | dict(given or {})))
    except ValidationError as error:
        first = error.errors()[0]
        where = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "settings"
        raise ConfigError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
