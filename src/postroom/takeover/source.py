"""Where the files of another system's queue lie, and which make up a message.

Owns the walk through a directory: which files are messages, which are not, in order of name.

Guarantees: nothing in the directory is changed.
Called by: takeover.importer, cli.takeover.  Raises: Unreadable, OSError from `Entry.read`;
NoQueue where the directory is none of that system.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from postroom.takeover import exim, mailman_queue, postfix, qmail, sendmail
from postroom.takeover.files import Entry, NoQueue, files_below, read_octets, refusing
from postroom.takeover.value import Foreign, Unreadable

POSTFIX_QUEUES = ("maildrop", "incoming", "active", "deferred", "hold")


def entries(system: str, directory: Path) -> list[Entry]:
    """Return what lies in a queue; raises NoQueue, OSError."""
    if not directory.is_dir():
        raise NoQueue(f"{directory} is no directory")
    return list(SYSTEMS[system](directory))


def _dated(message: Foreign, path: Path) -> Foreign:
    """Return a message with a time of arrival: that of its file where it says none."""
    if message.arrived_at > 0:
        return message
    return msgspec.structs.replace(message, arrived_at=path.stat().st_mtime)


def _postfix(directory: Path) -> Iterator[Entry]:
    queues = [name for name in POSTFIX_QUEUES if (directory / name).is_dir()]
    if not {"active", "deferred"} & set(queues):
        raise NoQueue(
            f"{directory} has no active and no deferred: is it Postfix's queue_directory?"
        )
    for queue in queues:
        hold = "held in Postfix" if queue == "hold" else ""
        for path in files_below(directory / queue):
            place = str(path.relative_to(directory))
            yield Entry(place, _postfix_reader(path, hold, finished=queue == "maildrop"))
    if (directory / "corrupt").is_dir():
        for path in files_below(directory / "corrupt"):
            yield refusing(str(path.relative_to(directory)), "set aside as corrupt by Postfix")


def _postfix_reader(path: Path, hold: str, *, finished: bool) -> Callable[[], Foreign]:
    def read() -> Foreign:
        octets = read_octets(path)
        # Postfix makes a file executable once it has told the client that it is queued.
        if not finished and not path.stat().st_mode & stat.S_IXUSR:
            raise Unreadable("not finished: Postfix had not acknowledged it (mode without x)")
        return _dated(postfix.parse(octets, path.name, hold=hold), path)

    return read


def _exim(directory: Path) -> Iterator[Entry]:
    place = directory / "input" if (directory / "input").is_dir() else directory
    files = {path.name: path for path in files_below(place)}
    if not files and not (directory / "input").is_dir():
        raise NoQueue(f"{directory} has no input: is it Exim's spool_directory?")
    for name, path in files.items():
        kind, where = name[-2:], str(path.relative_to(directory))
        if kind == "-H":
            yield Entry(where, _exim_reader(path, name[:-2]))
        elif kind not in ("-D", "-J", "-K") and not name.startswith("hdr."):
            yield refusing(where, "no file of Exim's queue")
        elif kind == "-D" and f"{name[:-2]}-H" not in files:
            yield refusing(where, "not finished, or its -H file is lost")


def _exim_reader(path: Path, name: str) -> Callable[[], Foreign]:
    def read() -> Foreign:
        head = read_octets(path)
        try:
            data = read_octets(path.with_name(f"{name}-D"))
        except FileNotFoundError as error:
            raise Unreadable("its -D file is lost") from error
        try:
            journal = read_octets(path.with_name(f"{name}-J"))
        except FileNotFoundError:
            journal = b""
        return exim.parse(head, data, journal, name)

    return read


def _sendmail(directory: Path) -> Iterator[Entry]:
    files = list(files_below(directory))
    bodies: dict[str, Path] = {path.name: path for path in files if path.name.startswith("df")}
    controls = {path.name[2:] for path in files if path.name[:2] in ("qf", "hf")}
    if files and not controls and not bodies:
        raise NoQueue(f"{directory} holds no qf and df files: is it sendmail's QueueDirectory?")
    for path in files:
        kind, name, where = path.name[:2], path.name[2:], str(path.relative_to(directory))
        if kind in ("qf", "hf"):
            hold = "quarantined in sendmail" if kind == "hf" else ""
            yield Entry(where, _sendmail_reader(path, bodies.get(f"df{name}"), hold))
        elif kind == "Qf":
            yield refusing(where, "set aside as lost by sendmail")
        elif kind == "df" and name not in controls:
            yield refusing(where, "not finished, or its qf file is lost")


def _sendmail_reader(path: Path, body: Path | None, hold: str) -> Callable[[], Foreign]:
    def read() -> Foreign:
        control = read_octets(path)
        if body is None:
            raise Unreadable("its df file is lost")
        return sendmail.parse(control, read_octets(body), path.name[2:], hold=hold)

    return read


def _qmail(directory: Path) -> Iterator[Entry]:
    place = directory / "queue" if (directory / "queue" / "mess").is_dir() else directory
    if not (place / "mess").is_dir():
        raise NoQueue(f"{directory} has no mess: is it qmail's queue directory?")
    kinds: dict[str, dict[str, Path]] = {}
    for kind in ("mess", "todo", "info", "local", "remote", "bounce"):
        found = kinds.setdefault(kind, {})
        if (place / kind).is_dir():
            # Files lie in subdirectories by the rest of a division, or, of todo, do not.
            found.update({path.name: path for path in files_below(place / kind)})
    for number, path in kinds["mess"].items():
        parts = [kinds[kind][number] for kind in ("todo",) if number in kinds[kind]]
        if not parts and number in kinds["info"]:
            names = ("info", "local", "remote")
            parts = [kinds[kind][number] for kind in names if number in kinds[kind]]
        where = str(path.relative_to(directory))
        if parts:
            yield Entry(where, _qmail_reader(path, parts))
        else:
            yield refusing(where, "not finished: qmail had not acknowledged it (no todo, no info)")
        if number in kinds["bounce"]:
            yield refusing(
                str(kinds["bounce"][number].relative_to(directory)),
                "failures that qmail had not reported to the sender yet",
            )


def _qmail_reader(path: Path, parts: list[Path]) -> Callable[[], Foreign]:
    def read() -> Foreign:
        envelope = tuple(map(read_octets, parts))
        # The time of info (or of todo, before) is when qmail took the message.
        return qmail.parse(read_octets(path), envelope, path.name, parts[0].stat().st_mtime)

    return read


SYSTEMS: dict[str, Callable[[Path], Iterator[Entry]]] = {
    "postfix": _postfix,
    "exim": _exim,
    "sendmail": _sendmail,
    "qmail": _qmail,
    "mailman": mailman_queue.walk,
}
