"""Ways to write the rows of a group with apsw, alone and beside a thread that keeps Python busy.

    PYTHONPATH=src python bench/store_variants.py [--rows 15] [--groups 400]

Each way inserts and later deletes one row of 13 columns per message, in one transaction per
group, without any sync, so that only statements and the interpreter's lock are measured. The
busy thread stands for an event loop that never rests; it gives the lock away only when asked
(after the switch interval), which is the worst case.

Found on two cores, 15 rows a group: all ways cost 3 to 5 us of CPU a row, JSON 13. Beside the
busy thread a group takes 28 to 36 ms with executemany and 11 to 18 with few statements, and
0.1 to 0.3 ms with either once the switch interval is 0.5 ms. So the store uses few statements,
and a worker process should call sys.setswitchinterval(0.0005).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import apsw

COLUMNS = 13
Rows = list[tuple[Any, ...]]


def each_row(connection: apsw.Connection, rows: Rows, gone: list[str]) -> None:
    connection.executemany("INSERT INTO message VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)
    connection.executemany("DELETE FROM message WHERE c0 = ?", [(one,) for one in gone])


def many_values(connection: apsw.Connection, rows: Rows, gone: list[str]) -> None:
    values = ",".join(["(?,?,?,?,?,?,?,?,?,?,?,?,?)"] * len(rows))
    flat = [value for row in rows for value in row]
    connection.execute(f"INSERT INTO message VALUES {values}", flat)
    if gone:
        marks = ",".join("?" * len(gone))
        connection.execute(f"DELETE FROM message WHERE c0 IN ({marks})", gone)


def as_json(connection: apsw.Connection, rows: Rows, gone: list[str]) -> None:
    columns = ",".join(f"value ->> {number}" for number in range(COLUMNS))
    connection.execute(
        f"INSERT INTO message SELECT {columns} FROM json_each(?)", (json.dumps(rows),)
    )
    connection.execute(
        "DELETE FROM message WHERE c0 IN (SELECT value FROM json_each(?))", (json.dumps(gone),)
    )


def with_carray(connection: apsw.Connection, rows: Rows, gone: list[str]) -> None:
    values = ",".join(["(?,?,?,?,?,?,?,?,?,?,?,?,?)"] * len(rows))
    flat = [value for row in rows for value in row]
    connection.execute(f"INSERT INTO message VALUES {values}", flat)
    if gone:
        connection.execute("DELETE FROM message WHERE c0 IN carray(?)", (apsw.carray(tuple(gone)),))


WAYS: dict[str, Callable[[apsw.Connection, Rows, list[str]], None]] = {
    "executemany": each_row,
    "many VALUES, IN (?,...)": many_values,
    "many VALUES, IN carray": with_carray,
    "json_each": as_json,
}


def measure(way: Callable[..., None], rows: int, groups: int, busy: bool) -> tuple[float, float]:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            for _ in range(1000):
                pass

    with tempfile.TemporaryDirectory() as base:
        connection = apsw.Connection(f"{base}/x.db", statementcachesize=400)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        columns = ",".join(f"c{number}" for number in range(1, COLUMNS))
        connection.execute(f"CREATE TABLE message (c0 TEXT PRIMARY KEY, {columns}) WITHOUT ROWID")
        if busy:
            threading.Thread(target=spin, daemon=True).start()
        gone: list[str] = []
        cpu, begun = time.thread_time(), time.perf_counter()
        for group in range(groups):
            some: Rows = [
                (
                    f"c{group:010}{row:05}",
                    1.5,
                    "a@here.example",
                    "",
                    "",
                    0,
                    0,
                    "{}",
                    4096,
                    1,
                    9,
                    1,
                    1,
                )
                for row in range(rows)
            ]
            connection.execute("BEGIN IMMEDIATE")
            way(connection, some, gone)
            connection.execute("COMMIT")
            gone = [row[0] for row in some]
        found = time.thread_time() - cpu, time.perf_counter() - begun
        stop.set()
        connection.close()
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=15)
    parser.add_argument("--groups", type=int, default=400)
    arguments = parser.parse_args()
    count = arguments.rows * arguments.groups
    print(f"{'way':26}{'CPU us/row':>12}{'ms/group':>10}{'busy 5 ms':>12}{'busy 0.5 ms':>13}")
    for name, way in WAYS.items():
        cpu, alone = measure(way, arguments.rows, arguments.groups, False)
        cells = []
        for interval in (0.005, 0.0005):
            sys.setswitchinterval(interval)
            groups = 20
            cells.append(measure(way, arguments.rows, groups, True)[1] / groups * 1000)
        sys.setswitchinterval(0.005)
        print(
            f"{name:26}{cpu / count * 1e6:12.1f}{alone / arguments.groups * 1000:10.2f}"
            f"{cells[0]:12.1f}{cells[1]:13.1f}"
        )


if __name__ == "__main__":
    main()
