"""The arguments of `postroom bench`.

Called by: cli.parser.  Raises: nothing.
"""

from __future__ import annotations

import argparse


def bench_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    add = parser.add_argument
    add("--queues", default="1,2,4,8", metavar="N,N", help="numbers of queues to measure")
    add("--sync", default="full", metavar="MODES", help="full, none, or full,none")
    add("--messages", type=int, default=5000, metavar="N", help="messages of each run")
    add("--octets", type=int, default=4096, metavar="N", help="length of a message")
    add("--sessions", type=int, default=20, metavar="N", help="simultaneous sessions")
    add("--connections", default="kept", choices=("kept", "new"), help="kept open, or one each")
    add("--runs", type=int, default=3, metavar="N", help="runs of each; the median is shown")
    add("--directory", default="", metavar="DIR", help="spools lie below it, on its disk")
    add("--csv", default="", metavar="FILE", help="write all runs there")
    add("--plot", default="", metavar="FILE", help="write a plot there (SVG)")
