"""Reply rules: whom they are about, and the ones that are shipped, by what providers say."""

from __future__ import annotations

import pytest

from postroom.config.replies import RepliesPolicy
from postroom.config.rule_files import load_rules
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.shaping.replies import Action, ReplyRule, ReplyRules
from postroom.smtp.client_states import Stage


def reply(code: int, enhanced: str, text: str) -> Reply:
    return Reply(code, EnhancedStatusCode(enhanced), text)


SLOW_DOWN = reply(421, "4.7.28", "slow\ndown")


def name_of(rules: ReplyRules, stage: Stage, said: Reply, host: str, domain: str = "") -> str:
    rule = rules.find(stage, said, host, domain)
    return rule.name if rule is not None else ""


def test_a_rule_is_about_its_hosts_and_domains_and_stages() -> None:
    rules = ReplyRules(
        [
            ReplyRule("by-host", "slow", hosts=(".mx.example",)),
            ReplyRule("by-domain", "slow", domains=("a.example",)),
            ReplyRule("by-stage", "slow", stages=("greeting", "data")),
        ]
    )
    assert name_of(rules, Stage.MAIL, SLOW_DOWN, "one.mx.example") == "by-host"
    assert name_of(rules, Stage.MAIL, SLOW_DOWN, "MX.example.") == "by-host"
    assert name_of(rules, Stage.MAIL, SLOW_DOWN, "fakemx.example") == ""
    assert name_of(rules, Stage.MAIL, SLOW_DOWN, "other", "A.example") == "by-domain"
    assert name_of(rules, Stage.MAIL, SLOW_DOWN, "other", "b.a.example") == ""
    assert name_of(rules, Stage.MAIL, SLOW_DOWN, "other") == ""
    for stage in (Stage.GREETING, Stage.DATA, Stage.FINAL):
        assert name_of(rules, stage, SLOW_DOWN, "other") == "by-stage"


def test_the_first_rule_that_fits_is_taken_and_lines_are_joined_as_in_the_log() -> None:
    rules = ReplyRules([ReplyRule("one", "slow / down$"), ReplyRule("two", "slow")])
    assert name_of(rules, Stage.RCPT, SLOW_DOWN, "h") == "one"
    assert name_of(rules, Stage.RCPT, reply(421, "", "slow"), "h") == "two"
    assert not ReplyRules()


SAID = [
    ("gmail-smtp-in.l.google.com", Stage.FINAL, 421, "4.7.28", "Gmail has detected an unusual rate "
     "of unsolicited mail originating from your SPF domain", "gmail-rate"),
    ("aspmx.l.google.com", Stage.FINAL, 421, "4.7.0", "[192.0.2.1] Our system has detected an\n"
     "unusual rate of unsolicited mail originating", "gmail-unsolicited"),
    ("aspmx.l.google.com", Stage.GREETING, 421, "4.7.0", "Try again later, closing connection.",
     "gmail-closing"),
    ("aspmx.l.google.com", Stage.RCPT, 450, "4.2.1", "The user you are trying to contact is "
     "receiving mail at a rate that prevents", ""),
    ("x-example.mail.protection.outlook.com", Stage.MAIL, 451, "4.7.650", "The mail server "
     "[192.0.2.1] has been temporarily rate limited due to IP reputation. (S775)",
     "microsoft-reputation"),
    ("x-example.mail.protection.outlook.com", Stage.RCPT, 451, "4.7.500", "Server busy. Please "
     "try again later from [192.0.2.1].", "microsoft-busy"),
    ("hotmail-com.olc.protection.outlook.com", Stage.GREETING, 421, "", "RP-001 unable",
     "microsoft-limit"),
    ("eur.olc.protection.outlook.com", Stage.MAIL, 550, "5.7.1", "Unfortunately, messages from "
     "[192.0.2.1] weren't sent; your network is on our block list (S3150).", "microsoft-blocked"),
    ("x-example.mail.protection.outlook.com", Stage.RCPT, 550, "5.7.606", "Access denied, banned "
     "sending IP", "microsoft-blocked"),
    ("mx-eu.mail.am0.yahoodns.net", Stage.MAIL, 421, "4.7.0", "[TSS04] Messages from 192.0.2.1 "
     "temporarily deferred due to unexpected volume", "yahoo-deferred"),
    ("mta5.am0.yahoodns.net", Stage.MAIL, 421, "4.7.1", "[TS03] All messages from 192.0.2.1 will "
     "be permanently deferred", "yahoo-deferred-for-good"),
    ("mta5.am0.yahoodns.net", Stage.GREETING, 553, "5.7.1", "[BL21] Connections will not be "
     "accepted", "yahoo-listed"),
    ("mx01.mail.icloud.com", Stage.MAIL, 550, "5.7.0", "Blocked - see "
     "https://ipcheck.proofpoint.com/?ip=192.0.2.1", "apple-blocked"),
    ("mx1.comcast.net", Stage.GREETING, 421, "", "Too many sessions opened", "comcast-sessions"),
    ("mx1.comcast.net", Stage.MAIL, 421, "4.1.0", "192.0.2.1 Throttled - try again later. RL000003",
     "comcast-throttled"),
    ("mx00.gmx.net", Stage.GREETING, 421, "", "gmx.net (mxgmx104) Nemesis ESMTP Service not "
     "available\nService unavailable\nRate limit reached. Please try again later", "gmx-rate"),
    ("mx-ha03.web.de", Stage.GREETING, 554, "", "web.de (mxweb) Nemesis ESMTP Service not "
     "available\nNo SMTP service\nIP address is block listed.", "gmx-listed"),
    ("mx00.t-online.de", Stage.GREETING, 554, "", "IP=192.0.2.1 - A problem occurred. (Ask your "
     "postmaster for help or to contact tosa@rx.t-online.de to clarify.)", "t-online-unknown"),
    ("smtp-in.orange.fr", Stage.GREETING, 421, "", "opmta1 ME Trop de connexions, veuillez "
     "verifier votre configuration. Too many connections, slow down. OFR004_104 [104]",
     "orange-connections"),
    ("smtp4.laposte.net", Stage.GREETING, 421, "", "lpn Service refused, please try later. "
     "LPN007_105", "laposte-refused"),
    ("mxs.mail.ru", Stage.GREETING, 421, "", "Intrusion prevention active for [192.0.2.1]",
     "mail-ru-rate"),
    ("mx.example.org", Stage.GREETING, 421, "4.7.0", "mx.example.org Error: too many connections "
     "from 192.0.2.1", "too-many-connections"),
    ("mx.example.org", Stage.RCPT, 550, "5.1.1", "no such user", ""),
]  # fmt: skip


@pytest.mark.parametrize(("host", "stage", "code", "enhanced", "text", "expected"), SAID)
def test_what_providers_say_is_understood(
    host: str, stage: Stage, code: int, enhanced: str, text: str, expected: str
) -> None:
    rules = ReplyRules(load_rules(RepliesPolicy()))
    assert name_of(rules, stage, reply(code, enhanced, text), host) == expected


def test_what_is_shipped_makes_no_refusal_permanent_and_no_rule_is_without_a_trial() -> None:
    rules = load_rules(RepliesPolicy())
    assert all(rule.outcome != "failed" for rule in rules)
    assert all(rule.action is not Action.NONE and 60 <= rule.for_s <= 4 * 3600 for rule in rules)
    untried = {rule.name for rule in rules} - {row[-1] for row in SAID}
    assert untried <= {
        "yahoo-connections", "apple-limit", "comcast-listed", "gmx-policy", "gmx-connections",
        "t-online-connections", "orange-refused", "laposte-connections",
    }  # fmt: skip
