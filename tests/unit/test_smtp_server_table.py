"""Every state with every command."""

from __future__ import annotations

import pytest

from postroom.smtp.server_table import COMMAND_STATES, TABLE, Command, State
from tests.unit.smtp_server_driver import LOCAL, Driver, settings

INTO = {
    State.CONNECTED: b"",
    State.GREETED: b"EHLO c\r\n",
    State.MAIL: b"EHLO c\r\nMAIL FROM:<>\r\n",
    State.RECIPIENTS: b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\n",
    State.CHUNKS: b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nBDAT 2\r\nab",
}
LINES = {
    Command.EHLO: (b"EHLO again\r\n", 250),
    Command.HELO: (b"HELO again\r\n", 250),
    Command.MAIL: (b"MAIL FROM:<a@x>\r\n", 250),
    Command.RCPT: (b"RCPT TO:<c@x>\r\n", 250),
    Command.DATA: (b"DATA\r\n", 354),
    Command.BDAT: (b"BDAT 3\r\nxyz", 250),
    Command.RSET: (b"RSET\r\n", 250),
    Command.NOOP: (b"NOOP whatever\r\n", 250),
    Command.QUIT: (b"QUIT\r\n", 221),
    Command.HELP: (b"HELP MAIL\r\n", 214),
    Command.VRFY: (b"VRFY b@x\r\n", 252),
    Command.EXPN: (b"EXPN list\r\n", 502),
    Command.STARTTLS: (b"STARTTLS\r\n", 220),
    Command.AUTH: (b"AUTH LOGIN\r\n", 334),
    Command.XCLIENT: (b"XCLIENT ADDR=192.0.2.1\r\n", 220),
}


@pytest.mark.parametrize("state", COMMAND_STATES)
@pytest.mark.parametrize("command", Command)
def test_each_command_in_each_state_follows_the_table(state: State, command: Command) -> None:
    rights = type(LOCAL)("127.0.0.1", True, True, True)
    driver = Driver(settings(offers_starttls=True, offers_auth=True), rights)
    driver.send(INTO[state])
    assert driver.session.state is state
    line, code = LINES[command]
    rule = TABLE[state][command]
    codes = driver.codes(line)
    if rule.refusal is not None:
        assert codes == [rule.refusal.code]
        assert driver.session.state is state
        return
    assert codes == [code]
    match command:
        case Command.STARTTLS:
            driver.session.tls_started("TLSv1.3")
        case Command.AUTH:
            assert driver.session.state is State.DIALOGUE
            driver.send(b"*\r\n")
        case _:
            pass
    assert driver.session.state is (state if command is Command.EXPN else rule.then)


def test_every_state_has_a_rule_for_every_command() -> None:
    assert set(TABLE) == set(COMMAND_STATES)
    for row in TABLE.values():
        assert set(row) == set(Command)
