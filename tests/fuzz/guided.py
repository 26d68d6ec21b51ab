"""One target under atheris, in a process of its own: `python -m tests.fuzz.guided TARGET ...`.

Branches of the target's modules are counted by changed bytecode, so they must not have been
imported before; what follows the name goes to libFuzzer.

Called by: tests.fuzz.search.
"""

from __future__ import annotations

import gc
import sys

import atheris


def main() -> None:
    """Run until libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    wanted = _modules_of(name)
    with atheris.instrument_imports(include=wanted, enable_loader_override=False):
        from tests.fuzz.target import load

        target = load(name)
    gc.freeze()
    atheris.Setup([sys.argv[0], *options], target.try_one)
    atheris.Fuzz()


def _modules_of(name: str) -> list[str]:
    """Return what is to be instrumented, asked in another process: here nothing is imported."""
    import subprocess

    asked = (
        "import sys; from tests.fuzz.target import load; "
        "print(*load(sys.argv[1]).modules, sep='\\n')"
    )
    command = [sys.executable, "-c", asked, name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


if __name__ == "__main__":
    main()
