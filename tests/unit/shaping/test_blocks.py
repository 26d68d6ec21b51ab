"""Which replies say that our address is blocked, and which are about something else."""

from __future__ import annotations

import pytest

from postroom.core.reply import Reply
from postroom.shaping.blocks import is_block

BLOCKED = [
    (550, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"),
    (550, "5.7.1", "Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your "
     "Internet service provider since part of their network is on our block list (S3140)."),
    (554, "", "gmx.example Nemesis ESMTP Service not available\nNo SMTP service\n"
     "IP address is black listed."),
    (554, "", "Your access to this mail system has been rejected due to the sending MTA's poor "
     "reputation."),
    (553, "5.7.1", "[BL21] Connections will not be accepted from 192.0.2.1, because the ip is in "
     "Spamhaus's list; see https://postmaster.example/content/bl21"),
    (421, "4.7.0", "IP 2001:db8::1:2 is temporarily blocked"),
    (554, "5.7.1", "<host[192.0.2.1]>: Client host rejected: Access denied"),
    (550, "5.7.0", "Local Policy Violation - your IP has been blacklisted"),
]  # fmt: skip
OTHER = [
    (250, "2.0.0", "IP blocked"),
    (550, "5.1.1", "No such user; your IP was blocked"),
    (550, "5.7.1", "Message contains a URL that is blacklisted, IP 192.0.2.1"),
    (550, "5.7.1", "The user has blocked mail from your server"),
    (550, "5.7.26", "Unauthenticated email from example.org [192.0.2.1] is not accepted due to "
     "domain's DMARC policy"),
    (451, "4.7.1", "Greylisted, come back later"),
    (421, "4.7.0", "Try again later: too many connections from your IP"),
    (550, "5.7.1", "Message rejected due to local policy"),
    (554, "5.7.1", "Attachment type blocked, client host 192.0.2.1"),
    (452, "4.3.1", "Insufficient storage"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "enhanced", "text"), BLOCKED)
def test_a_host_that_blocks_our_address_says_so(code: int, enhanced: str, text: str) -> None:
    assert is_block(Reply(code, enhanced, text))


@pytest.mark.parametrize(("code", "enhanced", "text"), OTHER)
def test_what_is_about_the_mail_or_nothing_of_the_kind(code: int, enhanced: str, text: str) -> None:
    assert not is_block(Reply(code, enhanced, text))
