"""The terminal of `postroom top`: keys come in one by one, lines go out where they changed.

Owns the terminal while it is entered: without echo and line editing, on the alternative screen,
the cursor hidden. What it was is restored when it is left, whatever happened.

Guarantees: 1. only lines that changed are written, in one write.  2. leaving restores the terminal,
also after Ctrl-C, an error, or TERM.
Called by: cli.top.session.  Raises: OSError where the terminal goes away; Stopped and
KeyboardInterrupt from `keys`, or while something is written.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import termios
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.text import Text

ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
LEAVE = "\x1b[?25h\x1b[?1049l"
ESCAPE_WAIT_S = 0.05
"""What comes so soon after an escape belongs to it: an arrow key over a slow line."""
READ_OCTETS = 1024
SMALLEST = (40, 8)

_SEQUENCES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left",
    b"\x1bOA": "up", b"\x1bOB": "down", b"\x1bOC": "right", b"\x1bOD": "left",
    b"\x1b[5~": "pageup", b"\x1b[6~": "pagedown", b"\x1b[H": "home", b"\x1b[F": "end",
    b"\x1b[1~": "home", b"\x1b[4~": "end", b"\x1bOH": "home", b"\x1bOF": "end",
    b"\x1b[Z": "backtab",
}  # fmt: skip
_SINGLE = {
    b"\r": "enter", b"\n": "enter", b"\t": "tab", b"\x7f": "backspace", b"\x08": "backspace",
}  # fmt: skip


def keys_of(octets: bytes, *, is_all: bool) -> tuple[list[str], bytes]:
    """Return the keys that octets mean, and what may be the beginning of one.

    `is_all`: nothing more came in time, so that an escape is the key of that name.
    """
    keys: list[str] = []
    while octets:
        if octets[:1] == b"\x1b":
            found = next((one for one in _SEQUENCES if octets.startswith(one)), None)
            if found is not None:
                keys.append(_SEQUENCES[found])
                octets = octets[len(found) :]
                continue
            is_begun = any(one.startswith(octets) for one in _SEQUENCES)
            if is_begun and not is_all:
                return keys, octets
            if len(octets) == 1 or is_begun:
                keys.append("esc")
                octets = octets[1:] if len(octets) == 1 else b""
                continue
            octets = _after_sequence(octets)
            continue
        if octets[:1] in _SINGLE:
            keys.append(_SINGLE[octets[:1]])
            octets = octets[1:]
            continue
        length = _length(octets[0])
        if len(octets) < length and not is_all:
            return keys, octets
        text = octets[:length].decode("utf-8", "ignore")
        if text.isprintable() and text:
            keys.append(text)
        octets = octets[length:]
    return keys, b""


def _after_sequence(octets: bytes) -> bytes:
    """Return what follows an escape sequence that means nothing to us."""
    if octets[1:2] not in (b"[", b"O"):
        return octets[2:]
    for place in range(2, len(octets)):
        if 0x40 <= octets[place] <= 0x7E:
            return octets[place + 1 :]
    return b""


def _length(first: int) -> int:
    """Return how many octets a character of UTF-8 has that begins so."""
    if first < 0xC0:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4


class Stopped(Exception):
    """TERM or HUP came: the terminal is restored, and the command ends."""


class Terminal:
    """The terminal of this process; a context manager."""

    def __init__(self, keyboard: int, screen: int) -> None:
        self._keyboard = keyboard
        self._screen = screen
        self._shown: list[str] = []
        self._size = (0, 0)
        self._rest = b""
        self._before: list[Any] = []
        self._signals: dict[int, Any] = {}
        self._ending: BaseException | None = None
        """What a signal asks for."""
        self._is_writing = False
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._console = Console(force_terminal=True, highlight=False, width=SMALLEST[0])

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._keyboard)
        tty.setcbreak(self._keyboard)
        self._signals = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGWINCH, lambda *_: self.wake()),
                (signal.SIGINT, self._end),
                (signal.SIGTERM, self._end),
                (signal.SIGHUP, self._end),
            )
        }
        self._write(ENTER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._signals.items():
            signal.signal(number, handler)
        try:
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._before)
            self._write(LEAVE)
        except (OSError, termios.error):
            pass  # the terminal is gone: nothing is left to restore
        os.close(self._wake_out)
        os.close(self._wake_in)

    def _end(self, number: int, _frame: object) -> None:
        # Raised wherever we are it might be lost, in a destructor for instance; but a terminal that
        # takes nothing must not keep us.
        told = KeyboardInterrupt() if number == signal.SIGINT else Stopped("it was told to stop")
        self._ending = told
        if self._is_writing:
            raise told
        self.wake()

    def wake(self) -> None:
        """Let `keys` return: something has changed."""
        try:
            os.write(self._wake_in, b".")
        except BlockingIOError:
            pass  # it has been woken already

    def size(self) -> tuple[int, int]:
        """Return columns and lines as they are now."""
        columns, lines = shutil.get_terminal_size()
        try:
            columns, lines = os.get_terminal_size(self._screen)
        except OSError:
            pass
        return max(SMALLEST[0], columns), max(SMALLEST[1], lines)

    def keys(self, wait_s: float) -> list[str]:
        """Return the keys that were pressed; none after `wait_s`, or when it was woken."""
        if self._rest:
            wait_s = ESCAPE_WAIT_S
        ready, _, _ = select.select([self._keyboard, self._wake_out], [], [], wait_s)
        if self._ending is not None:
            raise self._ending
        if self._wake_out in ready:
            os.read(self._wake_out, READ_OCTETS)
        octets = b""
        if self._keyboard in ready:
            octets = os.read(self._keyboard, READ_OCTETS)
            if not octets:
                raise Stopped("the terminal is gone")
        keys, self._rest = keys_of(self._rest + octets, is_all=not octets)
        return keys

    def show(self, lines: Sequence[Text], size: tuple[int, int]) -> None:
        """Draw the lines that are not on the screen already."""
        pieces: list[str] = []
        if size != self._size:
            self._size, self._shown = size, []
            pieces.append("\x1b[2J")
        drawn = [self._ansi(line) for line in lines]
        for place, line in enumerate(drawn):
            if place >= len(self._shown) or self._shown[place] != line:
                pieces.append(f"\x1b[{place + 1};1H{line}\x1b[0m\x1b[K")
        self._shown = drawn
        if pieces:
            self._write("".join(pieces))

    def _ansi(self, line: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
        return capture.get()

    def _write(self, text: str) -> None:
        octets = text.encode("utf-8", "replace")
        self._is_writing = True
        try:
            while octets:
                octets = octets[os.write(self._screen, octets) :]
        finally:
            self._is_writing = False
