"""What older queues taught: one demand for each pain, by number, in words of our own.

A test that does what a demand asks is marked `@pytest.mark.seed(number)`; `make seeds` runs
these tests and writes docs/seeds.md (tests/support/seed_table.py).
"""

from __future__ import annotations

SECTIONS: dict[str, dict[int, str]] = {
    "Storage and identity": {
        1: "queues by number, on any disks, named in one manifest that everybody reads",
        2: "a queue that is gone shows as missing, and those behind it are served and listed",
        3: "nothing is written into the empty mount point of a disk that is missing",
        4: "a directory that others may write to takes its queue out, loudly",
        5: "where control, content and transcripts lie is written down, and may be changed live",
        6: "a queue directory may be copied to another machine and served there",
        7: "control data readable by a standard tool, content raw; damage costs one message",
        8: "durable before the acknowledgement, also through kill -9",
        9: "a message is seen only when it is whole",
        10: "locks die with their process; one server for each base",
    },
    "Taking mail in": {
        11: "group and channel by rule, then a queue that can take it; and the rule is told",
        12: "placement by load, by chance, in turn, by weight or by hash",
        13: "load counts the backlog, and is explained",
        14: "new mail goes only to queues that live",
        15: "with no queue to take it mail is refused for now, and nothing is written",
        16: "room is checked on every disk, others take over, reports have a reserve",
        17: "a doorbell that never blocks and may be lost; nothing scans to find work",
        18: "classes of mail with priority and share, without starving the low ones",
    },
    "Channels and limits": {
        19: "any number of channels, added by a reload",
        20: "the first matching rule wins, and rules that can never match are reported",
        21: "one content for all channels of a message, and each goes its own way",
        22: "limits at every scope, the smallest wins, 0 holds",
        23: "limits hold over all queues together",
        24: "what a limit really is, after what the machine allows, is said",
        25: "accepting pauses before descriptors run out",
        26: "a limit for each site, and domains that share hosts share it",
        27: "a reload is all or nothing, and says what is wrong and where",
        28: "removing configuration never removes mail",
        29: "rates over all queues, with a bound on bursts, kept over restarts",
    },
    "Scheduling and retry": {
        30: "bounds count real work, and every queue and group gets its turn",
        31: "a site that hangs slows no other mail down",
        32: "undeliverable mail at the head starves nothing behind it",
        33: "by due time, then by arrival, and neither is restamped",
        34: "retry schedules of several kinds, printed as a table and kept to",
        35: "a warning, a lifetime, one last try, then a report or a recorded discard",
        36: "a defect of ours defers mail and never loses it",
        37: "one filter for every verb, with a trial run",
        38: "mail that is due all at once starts slowly",
        39: "what is known of a site is shared, listed and forgotten in time",
        40: "what was held or suspended is so after a restart",
    },
    "Relays and slices": {
        41: "pools of relays, by weight, in order, by chance or by load",
        42: "a relay that fails is passed over at once, probed, and comes back",
        43: "fallback relays are used only while the others are down",
        44: "with every relay down there is waiting, not a hot loop",
        45: "work may be cut in any number of parts, and a dead part is taken over",
        46: "what a dead worker had in flight is found at once, and nothing is tried twice",
        47: "done is marked for each recipient; a crash repeats only what was in flight",
        48: "a message that crashes its worker is set aside",
    },
    "Scaling and supervision": {
        49: "the number of queues grows with the load by itself",
        50: "and shrinks without swinging to and fro, and without losing mail",
        51: "a queue that cannot be made stops nothing else",
        52: "queues are added, drained, held and retired by a command",
        53: "a worker that keeps failing is restarted with pauses, for ever, and alone",
    },
    "Seeing and repairing": {
        54: "listings show every queue and state, and counts cost no scan",
        55: "a live view of queues, channels and sites",
        56: "the log tells the whole life of a message",
        57: "quarantine with a reason, never thrown away by default",
        58: "check and repair, safe while running, that never delete mail",
        59: "mail is moved between disks so that a crash leaves one copy",
        60: "signals reload, run, suspend, resume and stop, also under load",
        61: "anyone can measure it",
    },
}

ROWS: dict[int, str] = {
    number: text for section in SECTIONS.values() for number, text in section.items()
}
