"""Examples of the manual pages: for a command, what somebody wants and the line that does it.

A test holds each line to what the parser knows.
Called by: cli.manual.  Raises: nothing.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("Run a server as the file says, and look at it:",
         "postroom --config postroom.toml serve"),
        ("Ask why a message waits:", "postroom why d25npws04baz7000"),
    ),
    "channel": (
        ("Make no attempts of a channel for now, and go on later:",
         "postroom channel suspend gmail"),
        ("Have fewer connections than the file says, until further notice:",
         "postroom channel set gmail concurrency=10"),
    ),
    "completion": (
        ("For bash, in ~/.bashrc:", 'eval "$(postroom completion bash)"'),
        ("For zsh, in ~/.zshrc:", 'eval "$(postroom completion zsh)"'),
        ("For fish, in ~/.config/fish/config.fish:", "postroom completion fish | source"),
    ),
    "import": (
        ("See what would be taken over from a stopped Postfix:",
         "postroom import --from postfix --dry-run /var/spool/postfix"),
    ),
    "inject": (
        ("Hand over a message; its recipients are those of its header:",
         "postroom inject message.eml"),
        ("Have it sent in two hours, to somebody else:",
         "postroom inject --hold-for 2h -r someone@example.com message.eml"),
    ),
    "mail": (
        ("See what is stuck:", "postroom mail list state=deferred"),
        ("Count what a hold would be about, before it is done:",
         "postroom mail hold domain=example.com --dry-run"),
        ("Give up on old mail for a domain, with a report to the senders:",
         "postroom mail bounce domain=example.com --reason 'the domain is gone' --yes"),
    ),
    "man": (
        ("Have man(1) find the pages:", "postroom man --install /usr/local/share/man"),
    ),
    "queue": (
        ("Empty a queue before its disk is changed:", "postroom queue drain queue2"),
    ),
    "reply-test": (
        ("Ask what a provider's reply would lead to:",
         "postroom reply-test --domain gmail.com '421 4.7.28 rate limited'"),
    ),
    "route": (
        ("See where mail of a shop goes, and by which rules:",
         "postroom route b@example.com --sender orders@example.org"),
    ),
    "sendmail": (
        ("Send to whoever the header names:", "postroom sendmail -t -i"),
        ("See the queue id:", "postroom sendmail -v someone@example.com"),
    ),
    "source": (
        ("Give an address a rest:", "postroom source pause a --for 2h --reason 'new PTR record'"),
    ),
    "what-if": (
        ("Ask how long it would take with more connections and no rate:",
         "postroom what-if channel news concurrency=50 rate=none"),
    ),
    "why": (
        ("Of a message, a site, or a channel:", "postroom why gmail"),
    ),
}  # fmt: skip
