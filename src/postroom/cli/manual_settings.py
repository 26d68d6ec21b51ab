"""postroom.toml(5): the settings as a manual page, from the table of settings.

Called by: cli.manual.  Raises: nothing.
"""

from __future__ import annotations

from postroom.cli.roff import Page
from postroom.config.described import default_text, heading_of, unit_text
from postroom.config.settings import SEED_VARIABLES, TABLES


def fill(page: Page) -> None:
    """Write all of the page that stands behind its name."""
    page.section("DESCRIPTION")
    page.text(
        "One file in TOML says what is to be other than it is by itself: without a file Postroom "
        "takes mail on port 2525 of the loopback addresses, delivers by MX, and keeps the spool in "
        "the state directory of the user. The file is the one named by `--config`, else by "
        "`$POSTROOM_CONFIG`, else `$XDG_CONFIG_HOME/postroom/postroom.toml` "
        "(`~/.config/postroom/postroom.toml`), else `/etc/postroom/postroom.toml`. Nobody but its "
        "owner and group may write it.",
        first=True,
    )
    page.text(
        "The command line wins (`--set spool.count=4`), then the environment "
        f"(`POSTROOM_SPOOL_COUNT=4`; {', '.join(f'`{one}`' for one in SEED_VARIABLES)} are "
        "understood as well), then the file, then the default. `postroom check` prints what is in "
        "force and where it comes from, and all mistakes at once; `postroom reload` puts a new "
        "file in force, or changes nothing where it is wrong."
    )
    page.text(
        'A duration is a number with a unit: "90s", "5m", "4h", "5d"; a size: "64 MiB"; a rate: '
        '"1000/1m", "50/1h burst 5". Paths are relative to the directory of the file.'
    )
    page.section("SETTINGS")
    for table in TABLES:
        page.subsection(heading_of(table).strip("`"))
        page.text(table.doc, first=True)
        for setting in table.settings:
            page.item(setting.name, setting.doc)
            unit = unit_text(setting)
            lines = [
                f"Value: {setting.kind.expected}" + (f"; a bare number: {unit}" if unit else ""),
                f"Default: {default_text(table, setting)}",
                f"Example: `{setting.name} = {setting.example}`",
            ]
            if setting.types:
                lines.insert(0, f"Routes of type: {', '.join(setting.types)}")
            if setting.restart:
                lines.append("Changed by: a restart")
            page.more(lines)
    page.section("EXAMPLES")
    page.text("Everything to a smarthost, with one provider kept within limits:", first=True)
    page.example(
        [
            "[route.default]",
            'type = "relay"',
            'relays = [ { host = "smtp.example.org:587" } ]',
            'user = "app@example.org"',
            'password_file = "/etc/postroom/smarthost.password"',
            "",
            "[channel.gmail]",
            'match = ["gmail.com", "googlemail.com"]',
            "concurrency = 20",
            'rate = "1000/1m"',
        ]
    )
    page.section("FILES")
    page.item("/etc/postroom/postroom.toml", "the file of the whole machine")
