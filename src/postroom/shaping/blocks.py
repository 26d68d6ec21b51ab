"""Whether a reply says that a host takes nothing from our address.

Then it is no fault of the mail, and another address may do better. A reply is taken for that only
where it is about policy, speaks of being listed or blocked, and names the client or its address;
what speaks of a URL, a domain or the content is about the mail, whatever else it says.

Pure.  Called by: engine.source_troubles, delivery.smtp_agent.  Raises: nothing.
RFC 3463 §3.8: x.7.x, security or policy.
"""

from __future__ import annotations

import re

from postroom.core.reply import Reply

_BLOCKED = re.compile(
    r"\b(?:block|black|deny|reject)[ -]?list|\b(?:black|block)ed\b|\bbanned\b|dns-?bl|\brbl\b"
    r"|spamhaus|spamcop|sorbs|uceprotect|barracuda"
    r"|\b(?:poor|bad|low) (?:\w+ )?reputation|client host rejected"
    r"|connections? (?:will|is|are|can)? ?not (?:be )?accepted",
    re.I,
)
_CLIENT = re.compile(
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){3,}|\bips?\b"
    r"|\bclient host\b|\bsending (?:mta|host|server)\b"
    r"|\b(?:your|this) (?:ip|server|host|mta|network|address)\b",
    re.I,
)
_MAIL = re.compile(
    r"\b(?:ur[il]s?|links?|attachments?|contents?|body|virus|dkim|dmarc|spf|user|mailbox"
    r"|recipients?|sender address|from address|domains?)\b",
    re.I,
)
# In a link to an explanation none of these words says what the reply is about.
_LINK = re.compile(r"https?://\S+", re.I)
_POLICY = re.compile(r"[45]\.7\.\d{1,3}\Z")


def is_block(reply: Reply) -> bool:
    """Say whether a host refuses the address that we come from, whatever the mail is."""
    if not (reply.is_transient or reply.is_permanent):
        return False
    if reply.enhanced and not _POLICY.match(reply.enhanced):
        return False
    text = _LINK.sub(" ", reply.text)
    if _MAIL.search(text):
        return False
    return bool(_BLOCKED.search(reply.text) and _CLIENT.search(reply.text))
