"""The arguments of `postroom top` and `postroom health`.

Called by: cli.parser, cli.top.  Raises: nothing.
"""

from __future__ import annotations

import argparse

from postroom.control.orders import SITE_ORDERS

TOP_HELP = "a live view: queues, channels, sites, relays, and what is stuck"
TABS = ("queues", "channels", "sites", "relays", "troubles", "sources", "tenants")


def top_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those of `top`."""
    add = parser.add_argument
    add("--once", action="store_true", help="print everything once, as text")
    add("--interval", default="1s", metavar="TIME", help="ask so often; 1s at the least")
    add("--tab", default=TABS[0], choices=TABS, help="what is shown first")
    add("--sort", default="trouble", metavar="ORDER", help=f"of sites: {', '.join(SITE_ORDERS)}")
    add("--filter", default="", metavar="TEXT", help="only rows with this text")
    add("--sites", type=int, default=50, metavar="N", help="at most so many sites, up to 1000")


HEALTH_HELP = "whether the server is well, and why not; by exit code"


def health_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those of `health`."""
    parser.add_argument(
        "--ready", action="store_true", help="exit 0 where it takes mail, whatever else is wrong"
    )
