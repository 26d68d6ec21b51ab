"""The option --seed of commands that play a run again from its seed.

Called by: tools.crash, .cuts, .flips, .limits_run, .power_cuts, .soak.  Raises: nothing.
"""

from __future__ import annotations

import argparse
import random


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Let a seed be given; where none is, one is drawn, and the command prints it."""
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6),
        help="default: a new one, printed",
    )  # fmt: skip
