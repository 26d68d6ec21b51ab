"""The tables of `make interop`: printed, and written into docs/interoperability.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.interop.combination import EXTENSIONS, Can
from tests.interop.peer import Peer
from tests.interop.rounds import Round
from tools.doc_block import write_block

PAGE = Path(__file__).resolve().parents[2] / "docs" / "interoperability.md"
_ARROWS = {"receives": "Postroom → {}", "sends": "{} → Postroom"}
_HEAD = (
    "Direction", "Combinations", "Messages", "Identical", "Converted", "Returned", "Not taken",
    "Differences",
)  # fmt: skip


def tables(rounds: Sequence[Round], peers: Mapping[str, Peer]) -> str:
    """Return both tables, and the reasons below them."""
    rows = [
        (
            f"{_ARROWS[one.direction].format(f'{one.peer} {one.version}')}",
            str(len(one.combinations)),
            str(one.verdict.sent),
            str(one.verdict.delivered),
            str(one.verdict.converted),
            str(one.verdict.returned),
            ", ".join(one.not_sent) or "none",
            str(len(one.verdict.differences)),
        )
        for one in rounds
    ]
    abilities = [
        (
            _ARROWS[one.direction].format(one.peer),
            *[_word(peers[one.peer], one, name) for name in EXTENSIONS],
        )
        for one in rounds
    ]
    reasons = [
        f"- {_ARROWS[one.direction].format(one.peer)}, {key.partition(' ')[2]}: {reason}."
        for one in rounds
        for key, reason in peers[one.peer].why.items()
        if key.startswith(one.direction)
    ]
    return "\n".join(
        (_table(_HEAD, rows), "", _table(("Direction", *EXTENSIONS), abilities), "", *reasons)
    )


def _word(peer: Peer, one: Round, name: str) -> str:
    other = peer.needs.get(f"{one.direction} {name}")
    if other and one.abilities[name] is Can.SWITCHED:
        return f"{Can.SWITCHED.value}, with {other} only"
    return one.abilities[name].value


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the tables into the page, in place of the former ones."""
    write_block(PAGE, "interop", text)
