"""How a component belongs to the TensorFlow that it is compiled with.

TensorFlow is tested with the sources that its tree pins, and a product that carries
TensorFlow with those that it carries. Anything else is a substitute, and named as one.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from builders.locking.cmake import Pin
from builders.sources import Component, Lock, Origin, Relation, Source

TENSORFLOW = "tensorflow"
UPSTREAM = "upstream"
"""The origin whose rows are the pins of the tree's Bazel files."""

# The shortest name of a commit that Git and Debian write.
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


def is_same_version(one: str, other: str) -> bool:
    """Whether two names are of one version; the name of a commit may be cut short."""
    # Debian's are followed by a date in parentheses.
    first, second = (name.partition(" ")[0] for name in (one, other))
    if _COMMIT.fullmatch(first) and _COMMIT.fullmatch(second):
        return first.startswith(second) or second.startswith(first)
    return first == second


def relation_of(
    component: Component, origin: Origin, tensorflow: Origin | None, pin: Pin
) -> Relation:
    """How a component of one origin belongs to its TensorFlow.

    Args:
        tensorflow: where TensorFlow itself comes from, in the same set of sources.
        pin: CMake's; Bazel's is the component's origin `upstream`.
    """
    bazel = component.origins.get(UPSTREAM)
    pinned = (bazel.version if bazel is not None else "", pin.version)
    if origin.archive.sha256 == pin.sha256 or any(
        version and is_same_version(origin.version, version) for version in pinned
    ):
        return Relation.PINNED
    if tensorflow is not None and origin.archive == tensorflow.archive:
        return Relation.TOGETHER
    return Relation.SUBSTITUTED


def with_relations(lock: Lock, pins: Mapping[str, Pin]) -> Lock:
    """The lock with the relation of each component and origin.

    Args:
        pins: CMake's, by the component's name.
    """
    own = next((c.origins for c in lock.components if c.name == TENSORFLOW), {})

    def related(component: Component) -> Component:
        pin = pins.get(component.name, Pin(name=component.name))
        origins = {
            name: replace(origin, relation=relation_of(component, origin, own.get(name), pin).value)
            for name, origin in component.origins.items()
        }
        return replace(component, origins=origins)

    return replace(lock, components=tuple(map(related, lock.components)))


def told(source: Source) -> dict[str, str]:
    """What a record says of how a component belongs; a fact that nobody knows is left out.

    Returns:
        `relation`; `date`, the day that the version is of; of a substitute also `pin`, the
        version that TensorFlow pins, and `pin_date`.
    """
    origin, pin = source.origin, source.component.origins.get(UPSTREAM)
    facts = {"relation": str(origin.relation), "date": _day(origin)}
    if origin.relation == Relation.SUBSTITUTED and pin is not None:
        facts |= {"pin": pin.version, "pin_date": _day(pin)}
    return {name: fact for name, fact in facts.items() if fact}


def lines(lock: Lock) -> Iterator[str]:
    """For each component and origin one line, for people."""
    for component in lock.components:
        for origin in component.origins.values():
            facts = told(Source(component=component, origin=origin))
            yield f"{component.name}: {origin.name}: {sentence(origin.version, facts)}"


def sentence(version: str, facts: Mapping[str, str]) -> str:
    """A relation in words, such as `substituted: 0a92994 of 2022-10-24 for 4dfe081`.

    Args:
        facts: as `told` gives them.
    """
    return f"{facts.get('relation', 'not known')}: {stand_in(version, facts)}"


def stand_in(version: str, facts: Mapping[str, str]) -> str:
    """A version in words, and of a substitute the pin that it stands in for."""
    named = _dated(version, facts.get("date"))
    if "pin" not in facts:
        return named
    text = f"{named} for {_dated(facts['pin'], facts.get('pin_date'))}"
    days = days_from_pin(facts)
    if days is None:
        return text
    unit = "day" if abs(days) == 1 else "days"
    return f"{text}, {abs(days)} {unit} {'after' if days >= 0 else 'before'}"


def days_from_pin(facts: Mapping[str, str]) -> int | None:
    """How many days a substitute is newer than the pin; None where a date is not known."""
    if "date" not in facts or "pin_date" not in facts:
        return None
    days = [datetime.date.fromisoformat(facts[name]) for name in ("date", "pin_date")]
    return (days[0] - days[1]).days


def _dated(version: str, date: str | None) -> str:
    name = version[:7] if re.fullmatch(r"[0-9a-f]{40}", version) else version
    return f"{name} of {date}" if date and date != version else name


def _day(origin: Origin) -> str:
    return origin.date.isoformat() if origin.date else ""
