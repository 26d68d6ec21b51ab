"""A Selection in SQL: which indexes can find it, and what a walk may leave out.

Everything here only narrows: a condition that SQL cannot say exactly is left to
spool.selection, which decides about whatever is read.

Pure.  Called by: spool.embedded.search.  Raises: nothing.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from postroom.core.conditions import Names, Range, is_exact
from postroom.core.ids import QueueId
from postroom.spool.store import STATES, Selection

PATTERNS_MAX: Final = 20  # patterns of one list that SQL looks for
PATTERN_MAX: Final = 1000  # characters: SQLite refuses patterns beyond some length
STARS_MAX: Final = 3  # in one pattern: LIKE tries again for each of them
SLACK_S: Final = 1.0  # the test computes ages in another order, which may differ in the last bit
_HELD = ("held", "quarantined")


class Driver(msgspec.Struct, frozen=True):
    """An index that knows which messages may match: statements, and the values of its range.

    `count` counts its entries, to `:most` at most; `gather` gives the ids behind `:after`, in
    order, `:most` at most; `within` says whether one is behind `:after` and up to `:bound`.
    """

    index: str
    count: str
    gather: str
    within: str
    values: dict[str, Any]


def _driver(table: str, index: str, column: str, where: str, values: dict[str, Any]) -> Driver:
    source = f"FROM {table} INDEXED BY {index} WHERE {where}"
    if table == "message":
        within = f"SELECT 1 FROM message WHERE id > :after AND id <= :bound AND {where} LIMIT 1"
    else:
        within = (
            "SELECT 1 FROM recipient WHERE message_id > :after AND message_id <= :bound"
            f" AND {where} LIMIT 1"
        )
    return Driver(
        index,
        f"SELECT count(*) FROM (SELECT 1 {source} LIMIT :most)",
        "SELECT json_group_array(id ORDER BY id) FROM"
        f" (SELECT DISTINCT {column} AS id {source} AND {column} > :after"
        f" ORDER BY {column} LIMIT :most)",
        within,
        values,
    )


class Narrowing:
    """What SQL can say of one selection at one moment."""

    def __init__(self, selection: Selection, now: float, indexes: frozenset[str]) -> None:
        """`indexes`: the names of those that there are."""
        self._selection = selection
        self._now = now
        self._states = _states(selection.state)
        self.ids: list[QueueId] | None = sorted(set(selection.ids)) if selection.ids else None
        """The ids that are asked for, in order; None: any."""
        self.drivers = [one for one in self._drivers() if one.index in indexes]
        self.walk = self._walk()
        """Conditions on a row of messages, each after " AND ", and their values."""

    def _drivers(self) -> list[Driver]:
        selection, now = self._selection, self._now
        drivers = []
        domains = _exact_domains(selection)
        if domains is not None:
            where = "state = 0 AND domain IN (SELECT value FROM json_each(:domains))"
            values = {"domains": _json(domains)}
            drivers.append(_driver("recipient", "recipient_domain", "message_id", where, values))
        if selection.age:
            where, times = _between("arrived_at", _moments(selection.age, now))
            drivers.append(_driver("message", "message_arrived", "id", where, times))
        if self._states <= set(_HELD):
            drivers.append(_driver("message", "message_held", "id", "hold <> ''", {}))
        elif self._states == {"scheduled"}:
            drivers.append(_driver("message", "message_scheduled", "id", SCHEDULED, {}))
        elif "waiting" not in self._states and not self._states & set(_HELD):
            drivers.append(_due_driver("due_at > :due_least", {"due_least": now}))
        elif self._states == {"waiting"}:
            drivers.append(_due_driver("due_at <= :due_most", {"due_most": now}))
        if selection.due:
            drivers.append(_due_driver(*_between("due_at", _due_moments(selection.due, now))))
        return drivers

    def _walk(self) -> tuple[str, dict[str, Any]]:
        selection, states = self._selection, self._states
        conditions = _Conditions()
        conditions.add(_names("reverse_path", selection.sender, "sender"))
        conditions.add(_between("arrived_at", _moments(selection.age, self._now)))
        conditions.add(_between("size", (selection.size.least, selection.size.most)))
        if states <= set(_HELD):
            conditions.add(("hold <> ''", {}))
        elif not states & set(_HELD) or selection.due:
            conditions.add(("hold = ''", {}))
        if states == {"scheduled"}:
            conditions.add((SCHEDULED, {}))
        of_recipient = self._of_recipient()
        if of_recipient.texts:
            asked = " AND ".join(["r.message_id = message.id AND r.state = 0", *of_recipient.texts])
            exists = f"EXISTS (SELECT 1 FROM recipient AS r WHERE {asked})"
            conditions.add((exists, of_recipient.values))
        return "".join(f" AND {one}" for one in conditions.texts), conditions.values

    def _of_recipient(self) -> _Conditions:
        selection, states = self._selection, self._states
        conditions = _Conditions()
        domains = _exact_domains(selection)
        if domains is not None:
            among = "r.domain IN (SELECT value FROM json_each(:domains))"
            conditions.add((among, {"domains": _json(domains)}))
        else:
            conditions.add(_names("r.domain", selection.domain, "domain"))
        conditions.add(_names("r.address", selection.recipient, "recipient"))
        attempts = selection.attempts
        conditions.add(_between("r.attempts", (attempts.least, attempts.most)))
        conditions.add(_between("r.due_at", _due_moments(selection.due, self._now)))
        if states == {"waiting"}:
            conditions.add(("r.due_at <= :now", {"now": self._now}))
        elif not states & {"waiting", *_HELD}:
            conditions.add(("r.due_at > :now", {"now": self._now}))
        return conditions


class _Conditions:
    """Conditions that must all hold, and their values."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.values: dict[str, Any] = {}

    def add(self, condition: tuple[str, dict[str, Any]] | None) -> None:
        """Add one; None, and an empty text, say nothing."""
        if condition is not None and condition[0]:
            self.texts.append(condition[0])
            self.values.update(condition[1])


SCHEDULED: Final = "instr(provenance, '\"release_at\"') > 0"
"""True of all mail that has, or had, a time to begin at."""


def _due_driver(where: str, values: dict[str, Any]) -> Driver:
    where = f"state = 0 AND held = 0 AND {where}"
    return _driver("recipient", "recipient_due", "message_id", where, values)


def _states(names: Names) -> set[str]:
    return set(names.any_of or STATES).difference(names.none_of)


def _json(values: list[str]) -> str:
    return msgspec.json.encode(values).decode()


def _exact_domains(selection: Selection) -> list[str] | None:
    """Return the domains that recipients must be of, where they are known."""
    if selection.domain.any_of and all(map(is_exact, selection.domain.any_of)):
        return [one.lower() for one in selection.domain.any_of]
    addresses = selection.recipient.any_of
    domains = [one.rpartition("@")[2].lower() for one in addresses if "@" in one]
    if domains and len(domains) == len(addresses) and all(map(is_exact, domains)):
        return domains
    return None


def _names(column: str, names: Names, key: str) -> tuple[str, dict[str, Any]] | None:
    """Return a condition on names, as far as SQL can say it; ASCII alone has no case in SQL."""
    patterns = names.any_of
    if not patterns or len(patterns) > PATTERNS_MAX:
        return None
    if any(not one.isascii() or one.count("*") > STARS_MAX for one in patterns):
        return None
    if any(len(one) > PATTERN_MAX for one in patterns):
        return None
    values = {f"{key}{number}": _like(one) for number, one in enumerate(patterns)}
    return "(" + " OR ".join(f"{column} LIKE :{one} ESCAPE '\\'" for one in values) + ")", values


def _like(pattern: str) -> str:
    text = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return text.replace("*", "%")


Bounds = tuple[float | None, float | None]


def _moments(age: Range, now: float) -> Bounds:
    """Return between which moments mail of an age arrived."""
    return (
        None if age.most is None else now - age.most - SLACK_S,
        None if age.least is None else now - age.least + SLACK_S,
    )


def _due_moments(due: Range, now: float) -> Bounds:
    return (
        None if due.least is None else now + due.least - SLACK_S,
        None if due.most is None else now + due.most + SLACK_S,
    )


def _between(column: str, bounds: Bounds) -> tuple[str, dict[str, Any]]:
    key = column.rpartition(".")[2]
    conditions, values = [], {}
    for side, operator, bound in (("least", ">=", bounds[0]), ("most", "<=", bounds[1])):
        if bound is not None:
            conditions.append(f"{column} {operator} :{key}_{side}")
            values[f"{key}_{side}"] = bound
    return " AND ".join(conditions), values
