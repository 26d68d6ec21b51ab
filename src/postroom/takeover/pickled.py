"""Pickles, read without running anything: a stack machine that only builds plain values.

`pickle` calls what a file names, and a closed list of names still leaves memory to the file
(an index of the memo, a length before its octets). So the operations are taken apart by
`pickletools.genops`, which only reads, and done here: nothing is imported, called or looked up.
What a pickle would make by a call becomes a `Made` that holds the name and the arguments; it is
up to the reader to know the few names that mean something to him. Sets, dicts with plain keys,
lists, tuples, texts, octets and numbers come as themselves.

Guarantees: 1. no code of the file's choosing runs. 2. Memory stays in proportion to the file.
3. Nothing that was made is compared or hashed in depth, for it may be endless.
Called by: takeover.mailman.  Raises: Unreadable.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Sized
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from postroom.takeover.value import Unreadable

OPERATIONS_MAX = 10_000_000
"""Operations of one pickle: some three for each of a million recipients, and room."""
NAME_MAX = 1000
"""Characters of a class or function and its module."""
KEY_MAX = 4096
"""Characters or octets of a key, and bits of a number that is one: a long one can be hashed, or
compared, from the memo again and again. No address is that long."""

_SETS = ("builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset")
_BUILDERS = ("copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__")


@dataclass(slots=True, frozen=True, eq=False)
class Named:
    """A class or function that a pickle names; it is not looked up."""

    name: str


@dataclass(slots=True, eq=False)
class Made:
    """What a pickle would make by calling `name`; `state` is what it would then set."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None


class _Mark:
    """Where a group of values on the stack begins."""


def read_pickles(octets: bytes, count: int) -> list[Any]:
    """Return the values of so many pickles, one behind the other; raises Unreadable."""
    file = BytesIO(octets)
    values = []
    for _ in range(count):
        start = file.tell()
        try:
            values.append(_Machine(len(octets)).run(file))
        except (
            ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError,
            struct.error, MemoryError, RecursionError,
        ) as error:  # fmt: skip
            raise Unreadable(f"no pickle, or cut short, at octet {start}") from error
    return values


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, copies_max: int) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        # What the memo holds can be copied again and again; what a file holds once, once.
        self._copies_left = copies_max

    def run(self, file: BytesIO) -> Any:
        """Do all operations; return the value that is left."""
        for done, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if done > OPERATIONS_MAX:
                raise Unreadable(f"a pickle of more than {OPERATIONS_MAX} operations")
            name = operation.name
            if name in _LITERALS:
                self._stack.append(argument)
            elif name in _NOTHING:
                continue
            elif name in _OPERATIONS:
                _OPERATIONS[name](self, argument)
            elif name in _PYTHON_1:
                raise Unreadable(
                    f"a pickle with {name}, which no queue file of Mailman 3 has; Mailman 2 writes "
                    "such, and its queue cannot be taken over"
                )
            else:
                raise Unreadable(f"a pickle with {name}, which no queue file has")
        [value] = self._stack
        return value

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _since_mark(self) -> list[Any]:
        """Take what stands above the last mark off the stack, and the mark."""
        place = len(self._stack) - 1
        while not isinstance(self._stack[place], _Mark):
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        values = self._stack[place + 1 :]
        del self._stack[place:]
        return values

    def _taken(self, count: int) -> tuple[Any, ...]:
        if len(self._stack) < count:
            raise IndexError("an empty stack")
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        return values

    def _pop(self, _: Any) -> None:
        self._stack.pop()

    def _memoize(self, index: Any) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def _global(self, name: str) -> None:
        self._push(Named(".".join(name.split(" "))))

    def _stack_global(self, _: Any) -> None:
        module, name = self._taken(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("no name")
        if len(module) + len(name) > NAME_MAX:
            raise ValueError("a long name")
        self._push(Named(f"{module}.{name}"))

    def _reduce(self, _: Any) -> None:
        made, arguments = self._taken(2)
        self._push(self._made(_name(made), _tuple(arguments)))

    def _new(self, _: Any) -> None:
        made, arguments = self._taken(2)
        self._push(Made(_name(made), _tuple(arguments)))

    def _new_with_names(self, _: Any) -> None:
        made, arguments, _names = self._taken(3)
        self._push(Made(_name(made), _tuple(arguments)))

    def _made(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Return what a call makes: a plain value where it can only be one."""
        if name in _SETS:
            [values] = arguments or ((),)
            if not isinstance(values, list | tuple):
                raise TypeError("a set of what is no list")
            self._count_copies(values)
            return set(map(_plain, values))
        if name in _BUILDERS:
            self._count_copies(arguments)
            return Made(_name(arguments[0]), arguments[1:])
        if name == "collections.OrderedDict" and not arguments:
            return {}
        if name == "_codecs.encode" and len(arguments) == 2 and isinstance(arguments[0], str):
            # How the older protocols keep octets.
            self._count_copies(arguments[0])
            return arguments[0].encode("latin-1")
        return Made(name, arguments)

    def _count_copies(self, values: Sized) -> None:
        self._copies_left -= len(values)
        if self._copies_left < 0:
            raise ValueError("more copies than the file has octets")

    def _build(self, _: Any) -> None:
        [state] = self._taken(1)
        made = self._stack[-1]
        if not isinstance(made, Made):
            raise TypeError("a state for what has none")
        made.state = state

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, set):
            target.update(map(_plain, values))
        elif isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Made):
            raise TypeError("neither list nor set")

    def _store(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            for place in range(0, len(values), 2):
                target[_plain(values[place])] = values[place + 1]
        elif not isinstance(target, Made):
            raise TypeError("no dict")

    def _dict(self, _: Any) -> None:
        values = self._since_mark()
        self._push({})
        self._store(values)


def _name(value: Any) -> str:
    if not isinstance(value, Named):
        raise TypeError("what is called has no name")
    return value.name


def _tuple(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise TypeError("no arguments")
    return value


def _plain(value: Any) -> Any:
    match value:
        case str() | bytes():
            size = len(value)
        case int():
            size = value.bit_length()
        case float() | None:
            size = 0
        case _:
            raise TypeError("a key that is not plain")
    if size > KEY_MAX:
        raise ValueError("a long key")
    return value


_LITERALS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "FLOAT", "BINFLOAT",
))  # fmt: skip
_PYTHON_1 = frozenset(("INST", "OBJ"))
"""Make an object of the kind of class that Python 1 had, and Python 2 still."""
_NOTHING = frozenset(("PROTO", "FRAME", "STOP"))
_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "NONE": lambda it, _: it._push(None),
    "NEWTRUE": lambda it, _: it._push(True),
    "NEWFALSE": lambda it, _: it._push(False),
    "MARK": lambda it, _: it._push(_Mark()),
    "POP": _Machine._pop,
    "POP_MARK": lambda it, _: it._since_mark().clear(),
    "DUP": lambda it, _: it._push(it._stack[-1]),
    "EMPTY_LIST": lambda it, _: it._push([]),
    "EMPTY_TUPLE": lambda it, _: it._push(()),
    "EMPTY_DICT": lambda it, _: it._push({}),
    "EMPTY_SET": lambda it, _: it._push(set()),
    "LIST": lambda it, _: it._push(it._since_mark()),
    "TUPLE": lambda it, _: it._push(tuple(it._since_mark())),
    "TUPLE1": lambda it, _: it._push(it._taken(1)),
    "TUPLE2": lambda it, _: it._push(it._taken(2)),
    "TUPLE3": lambda it, _: it._push(it._taken(3)),
    "DICT": _Machine._dict,
    "FROZENSET": lambda it, _: it._push(set(map(_plain, it._since_mark()))),
    "APPEND": lambda it, _: it._extend(list(it._taken(1))),
    "APPENDS": lambda it, _: it._extend(it._since_mark()),
    "ADDITEMS": lambda it, _: it._extend(it._since_mark()),
    "SETITEM": lambda it, _: it._store(list(it._taken(2))),
    "SETITEMS": lambda it, _: it._store(it._since_mark()),
    "PUT": _Machine._memoize,
    "BINPUT": _Machine._memoize,
    "LONG_BINPUT": _Machine._memoize,
    "MEMOIZE": _Machine._memoize,
    "GET": lambda it, index: it._push(it._memo[index]),
    "BINGET": lambda it, index: it._push(it._memo[index]),
    "LONG_BINGET": lambda it, index: it._push(it._memo[index]),
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._new,
    "NEWOBJ_EX": _Machine._new_with_names,
    "BUILD": _Machine._build,
}
"""Not among them: persistent ids, extension codes, buffers and the classes of Python 1."""
