"""The scenario file: the deploys of the demo in order, and the outcome each is expected to have."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

BuiltIn = Literal["scenario", "unseen"]
ServiceName = Literal["checkout", "payments", "stock"]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Factor = Annotated[float, Field(gt=0.0, le=10.0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Flaw(_Part):
    """What a version does wrong: shares of the orders that lose their payment and that end in an error."""

    lost_payments: Share = 0.0
    errors: Share = 0.0


class Surge(_Part):
    """A crowd that hits every service alike, `after_s` seconds after the deploy finished.

    arrivals, slowness: factors. errors: share of the requests of each service that fail in addition.
    """

    after_s: Annotated[float, Field(ge=0.0, le=60.0)] = 5.0
    arrivals: Factor = 1.0
    errors: Share = 0.0
    slowness: Factor = 1.0


class Meanwhile(_Part):
    """What happens around the deploy and is not its fault. dark: the service's /metrics answers 503."""

    dark: bool = False
    surge: Surge | None = None


class Expected(_Part):
    """What the daemon should say in the end.

    action: `none` = no rollback was sent; `confirmed` = one was, and its recovery was verified;
    `awaiting_approval` = one was proposed, and nobody is there to approve it.
    alert: whether somebody was told.
    """

    verdict: Literal["healthy", "regressed", "inconclusive", "blind"]
    action: Literal["none", "confirmed", "awaiting_approval"]
    alert: bool


class PlannedDeploy(_Part):
    """One deploy of the demo."""

    name: str
    service: ServiceName
    version: str
    story: str
    ships: Flaw = Flaw()
    meanwhile: Meanwhile = Meanwhile()
    expect: Expected


class Scenario(_Part):
    """The whole demo. running: the version of each service at the start."""

    running: Mapping[ServiceName, str]
    deploys: Annotated[list[PlannedDeploy], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _versions_are_told_apart(self) -> Scenario:
        seen = {(name, version) for name, version in self.running.items()}
        for deploy in self.deploys:
            if (deploy.service, deploy.version) in seen:
                raise ValueError(
                    f"{deploy.service} {deploy.version} comes twice: give each deploy its own version"
                )
            seen.add((deploy.service, deploy.version))
        return self

    def flaws(self) -> Mapping[tuple[str, str], Flaw]:
        """(service, version) to what that version does wrong; a version not in it does nothing wrong."""
        return {(d.service, d.version): d.ships for d in self.deploys if d.ships != Flaw()}


def parse(text: str) -> Scenario:
    """The scenario in `text` (YAML). Raises ValueError naming the key and the remedy."""
    try:
        return Scenario.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"scenario: not readable as YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "scenario"
        raise ValueError(f"scenario: {place}: {first['msg']}") from error


def built_in(name: BuiltIn = "scenario") -> Scenario:
    """A scenario that ships with the demo."""
    return parse(resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
