"""Settings of dual-publish migrations: a list under `migrations:`, checked, and made into the nouns that verdicts are made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from traced.config.room import Room
from traced.model.migration import (
    DISPOSITION_ATTRIBUTE,
    MAX_UNSEEN_SHARE,
    REQUIRED_ATTESTATIONS,
    REQUIRED_BY_SYSTEM,
    VERSION_ATTRIBUTES,
    Attestation,
    AttestationKind,
    Listed,
    Migration,
    Shape,
    Side,
)

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)\s*")
_SECONDS: Final = {"ms": 0.001, "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST: Final = timedelta(days=3650)


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    parts = _DURATION.findall(text)
    if text != "0" and (isinstance(value, bool) or not parts or _DURATION.sub("", text)):
        raise ValueError(f"{value!r} is no duration; write a number with its unit, as 7d, 36h, 90m or 1d12h")
    found = timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
    if found > _LONGEST:
        raise ValueError(f"{value!r} is longer than ten years")
    return found


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is no time; write it as 2026-11-10T00:00:00Z") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is no time; write it as 2026-11-10T00:00:00Z")  # noqa: TRY004 - pydantic asks for a ValueError
    if value.tzinfo is None:
        raise ValueError(f"{value} says no offset; write it as 2026-11-10T00:00:00Z")
    return value


def _spellings(value: Any) -> Any:
    """Take one spelling or several; a number is its digits, but not one with a point: 1.10 is 1.1 for YAML."""
    values = value if isinstance(value, list | tuple) else [value]
    for one in values:
        if isinstance(one, bool | float):
            raise ValueError(f"{one!r} may have been written otherwise; write it in quotes")  # noqa: TRY004 - pydantic asks for a ValueError
    return [str(one) if isinstance(one, int) else one for one in values]


def _service(value: Any) -> Any:
    return {"service": value} if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Spellings = Annotated[tuple[Text, ...], BeforeValidator(_spellings), Field(max_length=100)]
Probability = Annotated[float, Field(gt=0, le=1)]


class DecommissionedSettings(Room):
    """Who says that a consumer is gone, and since when."""

    by: Text
    """Who says so."""
    at: Moment
    """Since when."""


class ConsumerSettings(Room):
    """One consumer of the inventory; a bare name is its `service`."""

    service: Text
    """Its `service.name`."""
    namespace: str = ""
    """Its `service.namespace`, where two services have one name; any, without it."""
    group: str = ""
    """Its consumer group or subscription. Without it all groups that the service is seen with are meant, and each of them has to be seen."""
    longest_period: Duration | None = None
    """The longest time between two of its runs. From a day on it is judged by how many of its runs the window holds, not by the share of its traces."""
    traces_per_run: int = Field(1, ge=1)
    """How many traces each run makes at least, before sampling."""
    decommissioned: DecommissionedSettings | None = None
    """It is gone: it need not be seen, and must not be."""
    role: Literal["consumer", "relay"] = "consumer"
    """A relay copies messages and does not interpret them (a mirror, a connector): what it takes is no use."""
    excluded: str = ""
    """Why what it takes does not count, as `test traffic`; every verdict lists it."""

    def noun(self) -> Listed:
        """Give it as the other rooms know it."""
        by, at = (self.decommissioned.by, self.decommissioned.at.timestamp()) if self.decommissioned else ("", None)
        period = None if self.longest_period is None else self.longest_period.total_seconds()
        return Listed(self.service, self.namespace, self.group, period, self.traces_per_run, by, at, self.role == "relay", self.excluded)


class SideSettings(Room):
    """Where the old or the new schema is found."""

    destination: Spellings = ()
    """The name of the destination (topic, queue, exchange), or a list of its spellings."""
    route: Spellings = ()
    """Instead of a destination, of a contract over HTTP or RPC: its routes, or the beginnings of paths (`/v1/`) or of an RPC's full methods (`shop.v1.`)."""
    version: Spellings = ()
    """The version as the spans spell it, or a list of spellings that mean the same: `"1"` and `"v1"` are equal only if both are here."""
    attribute: dict[Text, Spellings] = Field(default_factory=dict, max_length=10)
    """Further attributes that give the version, each with the spellings of this side; they are looked at first."""
    header: dict[Text, Spellings] = Field(default_factory=dict, max_length=10)
    """The same for headers of HTTP requests: `api-version` is the attribute `http.request.header.api-version`."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Name the attributes that give its version."""
        return (*self.attribute, *(f"http.request.header.{name.lower()}" for name in self.header))

    def noun(self, places: SideSettings) -> Side:
        """Give it as the other rooms know it; the other side's places where it names none."""
        versions = (*self.version, *(v for values in (*self.attribute.values(), *self.header.values()) for v in values))
        here = self if self.destination or self.route else places
        return Side(here.destination, here.route, tuple(dict.fromkeys(versions)))


class AttestationSettings(Room):
    """What somebody says of stored messages, since spans never prove that there is none."""

    kind: AttestationKind
    """What was checked."""
    at: Moment
    """When it was so; it has to be after the cutoff."""
    by: Text
    """Who says so."""
    expires: Moment | None = None
    """Until when it may be relied on; for good, without it."""

    def noun(self) -> Attestation:
        """Give it as the other rooms know it."""
        return Attestation(self.kind, self.at.timestamp(), self.by, None if self.expires is None else self.expires.timestamp())


class MigrationSettings(Room):
    """One dual-publish migration."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    """What it is called: letters, digits, dots, dashes and underscores."""
    system: str = ""
    """`messaging.system`, where destinations of several systems have one name; any, without it."""
    environment: str = ""
    """`deployment.environment.name`. Without it each consumer has to be seen in each environment that the messages name."""
    shape: Shape | None = None
    """How the two schemas live side by side; without it `two_destinations` where their destinations differ. It decides what can be proved."""
    old: SideSettings
    """Where the old schema is found."""
    new: SideSettings
    """Where the new schema is found; without a destination of its own, at the old one's."""
    consumers: tuple[Annotated[ConsumerSettings, BeforeValidator(_service)], ...] = Field((), max_length=1000)
    """The inventory: everybody who takes the messages, by name or as a mapping. Without it SAFE is never given."""
    longest_period: Duration | None = None
    """The longest time between two uses by any consumer that does not say its own; without it a day, or half of `min_window` if that is less. Where traces are
    sampled it decides how long the window has to be: at p = 0.1 one use a day takes 30 days to be excluded, one an hour 30 hours. Say a short one only if
    it holds for all that a consumer does."""
    confidence: float = Field(0.95, ge=0.5, lt=1)
    """How sure SAFE has to be, for all consumers together."""
    version_attributes: tuple[Text, ...] = Field(VERSION_ATTRIBUTES, min_length=1, max_length=50)
    """Where the version is looked for, in this order: attributes, `destination` and `route` for the names themselves."""
    disposition_attribute: Text = DISPOSITION_ATTRIBUTE
    """The attribute that says of a message `handled` or `ignored`."""
    business_key_attribute: str = ""
    """The attribute that identifies a message across redrives and in both of its versions; none, without it."""
    sampling: dict[Text, Probability] = Field(default_factory=dict, max_length=1000)
    """With which probability a service's traces are kept, where its spans do not say so; `*` is for all that are not named."""
    max_unseen_share: float = Field(MAX_UNSEEN_SHARE, gt=0, lt=1)
    """Which share of old use may be left unseen in what a consumer takes."""
    min_window: Duration = timedelta(days=14)
    """How long `traced` has to have listened at least. What is rarer than this is not excluded unless a longest_period says so."""
    valid_for: Duration = timedelta(hours=24)
    """How long a verdict may be relied on."""
    max_unknown: float = Field(0.0, ge=0, lt=1)
    """Which share of messages may be of an unknown version; at 0 one is enough."""
    tolerated_gap: Duration = timedelta(0)
    """How much of the window may be missing. Of who runs rarely, each gap may hide a run: the window gets longer by so many."""
    other_versions: Spellings = ()
    """Versions on the channel that are of other subjects, and neither old nor new. Those of other migrations on it are known anyway."""
    cutoff: Moment | None = None
    """When publishing the old schema stopped; remove-schema needs it."""
    sunset: Moment | None = None
    """Until when the old schema is promised to somebody."""
    attestations: tuple[AttestationSettings, ...] = Field((), max_length=100)
    """What people say of stored messages."""
    required_attestations: tuple[AttestationKind, ...] | None = Field(None, max_length=10)
    """Which attestations remove-schema needs; without it retention, dead letters and stores, and of Pub/Sub snapshots too."""

    @property
    def told(self) -> tuple[Side, Side]:
        """Give both sides as they are meant."""
        return self.old.noun(self.new), self.new.noun(self.old)

    @property
    def meant_shape(self) -> Shape | None:
        """Give the shape, by the places where none is said; None where they do not say it."""
        old, new = self.told
        return self.shape or (Shape.TWO_DESTINATIONS if set(old.places).isdisjoint(new.places) else None)

    @model_validator(mode="after")
    def _whole(self) -> MigrationSettings:
        problem = next(chain(self._problems_of_sides(), self._problems_of_consumers()), None)
        if problem is not None:
            raise ValueError(problem)
        return self

    def _problems_of_sides(self) -> Iterator[str]:
        old, new = self.told
        if not old.places:
            yield f"{self.name}: say where the messages are: `old: {{destination: NAME, …}}`, or `route` for calls"
        for what, side in (("old", self.old), ("new", self.new)):
            if side.destination and side.route:
                yield f"{self.name}: {what} has a destination and a route; a migration is about messages or about calls: make two of it"
        if bool(old.routes) != bool(new.routes):
            yield f"{self.name}: old and new are a destination and a route; both have to be of one kind"
        same, shared = set(old.places) & set(new.places), set(old.versions) & set(new.versions)
        if shared and (same or self.meant_shape is not Shape.TWO_DESTINATIONS):
            yield f"{self.name}: old equals new: both have the version {min(shared)!r}; give each its own"
        if self.meant_shape is None:
            yield f"{self.name}: say how old and new live side by side: `shape: two_messages` or `shape: one_message`"
        if self.meant_shape is Shape.TWO_DESTINATIONS and same:
            yield f"{self.name}: old equals new: {min(same)!r} is the place of both; give each its own, or say `shape: two_messages`"
        if self.meant_shape is not Shape.TWO_DESTINATIONS and not (old.versions and new.versions):
            yield f"{self.name}: with `shape: {self.meant_shape}` both `old` and `new` need a `version`"

    def _problems_of_consumers(self) -> Iterator[str]:
        names = Counter("/".join(part for part in (one.namespace, one.service, one.group) if part) for one in self.consumers)
        for name, times in names.items():
            if times > 1:
                yield f"{self.name}: the consumer {name!r} is listed twice; keep one"
        for one in self.consumers:
            if one.excluded and (one.decommissioned or one.role == "relay"):
                yield f"{self.name}: {one.service!r} is excluded, and a relay or decommissioned: say one of them"

    def noun(self, among: Sequence[MigrationSettings]) -> Migration:
        """Give it as the other rooms know it.

        Args:
            among: all migrations: versions of others on the same channel are known, and neither old nor new here.
        """
        old, new = self.told
        own, places = {*old.versions, *new.versions}, {*old.places, *new.places}
        others = [side for one in among if one is not self for side in one.told if places & set(side.places)]
        other_versions = dict.fromkeys([*self.other_versions, *(v for side in others for v in side.versions)])
        required = REQUIRED_BY_SYSTEM.get(self.system, REQUIRED_ATTESTATIONS) if self.required_attestations is None else self.required_attestations
        return Migration(
            name=self.name,
            shape=self.meant_shape or Shape.TWO_MESSAGES,
            old=old,
            new=new,
            consumers=tuple(one.noun() for one in self.consumers),
            system=self.system,
            environment=self.environment,
            longest_period_seconds=_seconds(self.longest_period),
            confidence=self.confidence,
            version_attributes=tuple(dict.fromkeys((*self.old.keys, *self.new.keys, *self.version_attributes))),
            disposition_attribute=self.disposition_attribute,
            business_key_attribute=self.business_key_attribute,
            sampling=dict(self.sampling),
            max_unseen_share=self.max_unseen_share,
            min_window_seconds=self.min_window.total_seconds(),
            valid_for_seconds=self.valid_for.total_seconds(),
            max_unknown=self.max_unknown,
            cutoff_unix_seconds=None if self.cutoff is None else self.cutoff.timestamp(),
            attestations=tuple(one.noun() for one in self.attestations),
            required_attestations=tuple(required),
            tolerated_gap_seconds=self.tolerated_gap.total_seconds(),
            other_versions=tuple(v for v in other_versions if v not in own),
            sunset_unix_seconds=None if self.sunset is None else self.sunset.timestamp(),
        )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def check_together(migrations: tuple[MigrationSettings, ...]) -> tuple[MigrationSettings, ...]:
    """Refuse migrations that contradict each other; a chain on one destination (1 to 2, and 2 to 3) does not.

    Raises:
        ValueError: two have one name, are the same, or lead back and forth.
    """
    for place, one in enumerate(migrations):
        for other in migrations[:place]:
            if one.name == other.name:
                raise ValueError(f"two migrations are called {one.name!r}; give each its own name")
            if any(a and b and a != b for a, b in ((one.system, other.system), (one.environment, other.environment))):
                continue
            (old, new), (old_there, new_there) = one.told, other.told
            if _meet(old, old_there) and _meet(new, new_there):
                raise ValueError(f"{other.name!r} and {one.name!r} are the same migration; keep one")
            if _meet(old, new_there) and _meet(new, old_there):
                raise ValueError(f"{one.name!r} leads back to what {other.name!r} leads away from; remove the one that is over")
    return migrations


def _meet(one: Side, other: Side) -> bool:
    """Say whether two sides share messages."""
    places = set(one.places) & set(other.places)
    return bool(places) and (not (one.versions and other.versions) or bool(set(one.versions) & set(other.versions)))
