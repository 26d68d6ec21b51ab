"""An import: what is handed over, once, and what is noted and told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from postroom.core.message import Recipient
from postroom.takeover.files import Entry, NoQueue, refusing
from postroom.takeover.importer import Importer, NotTaken, Part
from postroom.takeover.record import ImportRecord, RecordBusy
from postroom.takeover.source import entries
from postroom.takeover.value import Foreign

NOW = 1_700_000_000.0


def message(name: str, *recipients: str, **more: object) -> Foreign:
    addresses = tuple(map(Recipient, recipients or ("b@y.org",)))
    given = {"arrived_at": NOW - 60, "reverse_path": "a@x.org", "content": b"x\r\n", **more}
    return Foreign(name=name, recipients=addresses, **given)  # type: ignore[arg-type]


def entry(one: Foreign) -> Entry:
    return Entry(f"deferred/{one.name}", lambda: one)


class Run:
    """One import into a record below a directory."""

    def __init__(self, base: Path, refuse: NotTaken | None = None, most: int = 1000) -> None:
        self.base, self.refuse, self.most = base, refuse, most
        self.parts: list[Part] = []
        self.told: list[tuple[str, str]] = []

    def __call__(self, *found: Entry) -> Importer:
        record = ImportRecord(self.base)
        tell = self.told.append
        importer = Importer("postfix", record, lambda *said: tell(said), NOW, self.most)
        try:
            for _ in importer.run(found, record, self.hand_over):
                pass
        finally:
            record.close()
        return importer

    def hand_over(self, part: Part) -> str:
        if self.refuse is not None and part.message.name == "BAD":
            raise self.refuse
        self.parts.append(part)
        return part.id


def test_what_was_imported_is_not_imported_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run(entry(message("A")), entry(message("B"))).report.messages == 2
    # Fewer recipients may be left: it is the same message all the same.
    report = run(entry(message("A", "c@y.org")), entry(message("C"))).report
    assert (report.messages, report.already) == (1, 2 - 1)
    assert [part.message.name for part in run.parts] == ["A", "B", "C"]
    assert len({part.id for part in run.parts}) == 3


def test_a_part_has_the_same_queue_id_each_time(tmp_path: Path) -> None:
    first, second = Run(tmp_path / "1"), Run(tmp_path / "2")
    for run in (first, second):
        run(entry(message("A")))
    assert first.parts[0].id == second.parts[0].id


def test_many_recipients_and_verp_make_several_parts(tmp_path: Path) -> None:
    run = Run(tmp_path, most=2)
    run(entry(message("A", "b@y.org", "c@y.org", "d@y.org", "b@y.org")))
    run(entry(message("B", "b@y.org", "c@y.org", verp="+=", reverse_path="l@x.org")))
    shown = sorted((part.reverse_path, len(part.recipients)) for part in run.parts)
    assert shown == [
        ("a@x.org", 1), ("a@x.org", 2), ("l+b=y.org@x.org", 1), ("l+c=y.org@x.org", 1)
    ]  # fmt: skip
    assert len({part.id for part in run.parts}) == 4


def test_what_is_refused_for_good_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    run = Run(tmp_path, NotTaken("552 too long", lasting=True))
    report = run(entry(message("BAD")), entry(message("A")), refusing("x", "odd")).report
    assert (report.messages, report.problems) == (1, 2)
    assert sorted(run.told) == [("deferred/BAD", "552 too long"), ("x", "odd")]
    run.refuse = None
    assert run(entry(message("BAD")), entry(message("A"))).report.messages == 1


def test_what_is_refused_for_now_ends_the_import_after_noting_what_was_taken(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, NotTaken("452 full", lasting=False))
    with pytest.raises(NotTaken):
        run(entry(message("A")), entry(message("BAD")))
    run.refuse = None
    report = run(entry(message("A")), entry(message("BAD"))).report
    assert (report.messages, report.already) == (1, 1)


def test_a_recipient_that_is_no_address_is_named_each_time(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for _ in range(2):
        run(entry(message("A", "two words@y.org", "b@y.org")))
    assert len(run.told) == 2 and "'two words@y.org'" in run.told[0][1]
    assert [one.address for one in run.parts[0].recipients] == ["b@y.org"]


def test_nothing_arrives_in_the_future(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run(entry(message("A", arrived_at=NOW + 1e6)))
    assert run.parts[0].message.arrived_at == NOW


def test_a_line_of_the_record_that_was_cut_short_does_not_count(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run(entry(message("A")), entry(message("B")))
    path = tmp_path / "imported"
    os.truncate(path, path.stat().st_size - 3)
    assert run(entry(message("A")), entry(message("B"))).report.messages == 1
    assert run(entry(message("A")), entry(message("B"))).report.already == 2


def test_two_imports_do_not_run_at_once(tmp_path: Path) -> None:
    record = ImportRecord(tmp_path)
    with pytest.raises(RecordBusy):
        ImportRecord(tmp_path)
    record.close()


@pytest.mark.parametrize("system", ["postfix", "exim", "sendmail", "qmail", "mailman"])
def test_a_directory_of_something_else_is_no_queue(tmp_path: Path, system: str) -> None:
    (tmp_path / "readme").write_text("hello\n")
    try:
        found = entries(system, tmp_path)
    except NoQueue:
        return
    assert [one.place for one in found] == ["readme"]


def test_a_queue_of_qmail_is_put_together_from_its_directories(tmp_path: Path) -> None:
    files = {
        "mess/1/24": b"Subject: x\n\nbody\n", "info/1/24": b"Fa@x.org\0",
        "remote/1/24": b"Tb@y.org\0Dc@y.org\0", "mess/2/25": b"new\n",
        "todo/25": b"u1\0p2\0F\0Td@y.org\0", "intd/25": b"", "mess/3/26": b"unfinished\n",
        "bounce/24": b"<c@y.org>:\nno\n",
    }  # fmt: skip
    for name, octets in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(octets)
    os.utime(tmp_path / "info/1/24", (NOW - 500, NOW - 500))
    run = Run(tmp_path / "spool")
    run(*entries("qmail", tmp_path))
    taken = {part.message.name: part for part in run.parts}
    assert taken["24"].message.arrived_at == NOW - 500
    assert [one.address for one in taken["24"].recipients] == ["b@y.org"]
    assert taken["25"].reverse_path == ""
    assert sorted(place for place, _ in run.told) == ["bounce/24", "mess/3/26"]
