"""What must hold between settings, and what the files they name must be like.

`check_values` looks only at the configuration itself; `check_files` at certificates and
secrets. Both note mistakes (the configuration is refused) and warnings (it is odd).

Called by: config.loader.  Raises: nothing; mistakes are gathered.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from postroom.channels.match import ChannelTable
from postroom.config.addresses import is_loopback, too_wide
from postroom.config.console import ConsolePolicy
from postroom.config.console_settings import check_console
from postroom.config.event_settings import check_events
from postroom.config.given import Gathered, Name
from postroom.config.group_settings import check_classes, check_groups
from postroom.config.kinds import did_you_mean, shown
from postroom.config.model import Config
from postroom.config.source_settings import check_own_addresses, check_sources
from postroom.config.tenant_settings import check_tenants
from postroom.config.warmup_settings import check_warmups
from postroom.config.webhook_settings import check_webhook_files, check_webhooks
from postroom.core.errors import ConfigurationError
from postroom.hooks.loader import PolicyError
from postroom.hooks.loader import load as load_policy
from postroom.ingress.policy import ListenPolicy
from postroom.routing.policy import MaildirRoute, MxRoute, PipeRoute, RelayRoute

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}?|\}")
MAILDIR_WORDS = ("local", "domain", "address")
PIPE_WORDS = ("local", "domain", "address", "reverse_path", "id")
_CHECKED = ("verify", "implicit")


class _Findings:
    """Where mistakes and warnings of one table of the file go."""

    def __init__(self, gathered: Gathered, table: str, instance: str = "") -> None:
        self._gathered = gathered
        self._table = table
        self._instance = instance

    def is_given(self, setting: str) -> bool:
        return self._name(setting) in self._gathered.settings

    def given(self, setting: str) -> object:
        """Return what was given, before it was read; None where nothing was."""
        found = self._gathered.settings.get(self._name(setting))
        return found.value if found else None

    def mistake(self, setting: str, text: str) -> None:
        name = self._name(setting)
        self._gathered.mistakes.add(self._gathered.where(name), name, text)

    def warning(self, setting: str, text: str) -> None:
        name = self._name(setting)
        self._gathered.warnings.append(f"{self._gathered.where(name)}: {name}: {text}")

    def _name(self, setting: str) -> Name:
        return Name(self._table, self._instance, setting)


def check_values(config: Config, gathered: Gathered) -> None:
    """Look at everything that can be judged without looking at files."""
    _check_general(config, gathered)
    _check_names(gathered)
    taken: dict[str, str] = {}
    for listen in config.listen:
        findings = _Findings(gathered, "listen", listen.name)
        _check_addresses(listen, taken, findings)
        _check_listen(listen, findings)
    for name, route in config.routes.items():
        findings = _Findings(gathered, "route", name)
        if isinstance(route, RelayRoute):
            _check_relay(route, findings)
        elif isinstance(route, MaildirRoute):
            _check_words(route.path, MAILDIR_WORDS, "path", findings)
        elif isinstance(route, PipeRoute):
            for argument in route.command:
                _check_words(argument, PIPE_WORDS, "command", findings)
    _check_channels(config, gathered)
    check_sources(config, gathered)
    check_warmups(config, gathered)
    check_groups(config, gathered)
    check_classes(config, gathered)
    check_tenants(config, gathered)
    check_console(config, gathered)
    check_events(config, gathered)
    check_webhooks(config, gathered)


def _check_general(config: Config, gathered: Gathered) -> None:
    findings = _Findings(gathered, "")
    if "." not in config.hostname and not findings.is_given("hostname"):
        text = f"{shown(config.hostname)}, this machine's name, has no domain; "
        findings.warning("hostname", text + "remote hosts may refuse mail; set hostname")
    if not config.spool.base:
        text = "missing; this user has no home directory, so there is no default"
        _Findings(gathered, "spool").mistake("base", text)
    spool = config.spool
    if 0 < spool.max < spool.count and not spool.directories:
        text = f"max ({spool.max}) is below count ({spool.count}); expected at least that"
        _Findings(gathered, "spool").mistake("max", text)
    if config.scaling.low >= spool.load:
        text = f"{config.scaling.low:g} is not below spool.load ({spool.load:g}); queues would "
        _Findings(gathered, "scaling").mistake("low", text + "come and go for ever")
    delivery = _Findings(gathered, "delivery")
    if config.delivery.lane_active_max > config.delivery.active_max:
        setting = "active_max" if delivery.is_given("active_max") else "lane_active_max"
        text = f"lane_active_max ({config.delivery.lane_active_max}) is above active_max "
        delivery.mistake(setting, text + f"({config.delivery.active_max}); expected at most that")


def _check_names(gathered: Gathered) -> None:
    """Two names must not mean the same variable of the environment."""
    seen: dict[tuple[str, str], str] = {}
    for table, instance in gathered.tables:
        key = (table, instance.lower().replace("-", "_"))
        if key in seen:
            text = f"{shown(instance)} is too much like {shown(seen[key])}; expected another name"
            gathered.mistakes.add(gathered.tables[(table, instance)], f"{table}.{instance}", text)
        seen.setdefault(key, instance)


def _check_addresses(listen: ListenPolicy, taken: dict[str, str], findings: _Findings) -> None:
    for address in listen.address:
        if address in taken and not address.endswith(":0"):
            text = f"{shown(address)} is taken by listen.{taken[address]}; expected another port"
            findings.mistake("address", text)
        taken.setdefault(address, listen.name)


def _check_listen(listen: ListenPolicy, findings: _Findings) -> None:
    reasons = {
        "relay_from": "this would be an open relay",
        "xclient": "whoever may use XCLIENT may relay, so this would be an open relay",
        "proxy_protocol": "whoever may send a PROXY header may relay, so this would be an open "
        "relay",
    }
    for setting, reason in reasons.items():
        wide = too_wide(getattr(listen, setting))
        if wide:
            findings.mistake(setting, f"{wide}: {reason}; expected the networks of your clients")
    if bool(listen.tls_certificate) != bool(listen.tls_key):
        missing = "tls_key" if listen.tls_certificate else "tls_certificate"
        other = "tls_certificate" if listen.tls_certificate else "tls_key"
        findings.mistake(other, f"given without {missing}; expected both or none")
    elif listen.tls != "none" and not listen.tls_certificate:
        text = f'"{listen.tls}" needs a certificate; expected tls_certificate and tls_key as well'
        findings.mistake("tls", text)
    if listen.auth_users and listen.tls == "none" and not listen.auth_plaintext_loopback:
        text = "nobody can authenticate: AUTH is offered only under TLS; set tls_certificate, or "
        findings.warning("auth_users", text + "auth_plaintext_loopback for this machine's clients")
    if listen.idle_timeout_s > listen.session_timeout_s:
        text = "idle_timeout is longer than session_timeout; expected at most that"
        setting = "idle_timeout" if findings.is_given("idle_timeout") else "session_timeout"
        findings.mistake(setting, text)


def _check_relay(route: RelayRoute, findings: _Findings) -> None:
    if route.user and not findings.is_given("password_file"):
        findings.mistake("user", "given without password_file; expected both or none")
    if findings.is_given("password_file") and not findings.is_given("user"):
        findings.mistake("password_file", "given without user; expected both or none")
    far = next((relay.host for relay in route.relays if not is_loopback(relay.host)), "")
    if route.user and route.tls.mode == "none" and far:
        text = f'"none" would send the password to {far} in the clear; expected "verify"'
        findings.mistake("tls", text)
    seen = set()
    for relay in route.relays:
        if (relay.host, relay.port) in seen:
            text = f"{relay.host}:{relay.port} is listed twice; expected each relay once"
            findings.mistake("relays", text)
        seen.add((relay.host, relay.port))


def _check_words(text: str, known: tuple[str, ...], setting: str, findings: _Findings) -> None:
    """Every word in braces must be one that will be replaced."""
    for found in _PLACEHOLDER.finditer(text):
        if found[1] not in known or not found[0].endswith("}"):
            words = ", ".join(f"{{{word}}}" for word in known)
            hint = did_you_mean(found[1] or "", known)
            problem = f"{shown(found[0])} stands for nothing; expected {words}"
            findings.mistake(setting, problem + (f"; {hint}" if hint else ""))


def _check_channels(config: Config, gathered: Gathered) -> None:
    for channel in config.channels:
        findings = _Findings(gathered, "channel", channel.name)
        if channel.route not in config.routes:
            hint = did_you_mean(channel.route, config.routes)
            text = f"there is no route {shown(channel.route)}; "
            text += f"expected one of {', '.join(config.routes)}" + (f"; {hint}" if hint else "")
            findings.mistake("route", text)
        if channel.name == "default" and channel.match:
            text = "the default channel takes everything that no other does; expected no rules"
            findings.mistake("match", text)
        elif channel.name != "default" and not findings.is_given("match"):
            findings.mistake("match", 'missing; expected rules, such as ["gmail.com"]')
        elif channel.name != "default" and findings.given("match") == []:
            findings.mistake("match", "no rules, so no mail; expected at least one")
        if channel.delay_warning_s > channel.retry.lifetime_s:
            findings.warning("delay_warning", "no warning is sent: the lifetime ends before it")
    used = {channel.route for channel in config.channels}
    for name in config.routes:
        if name not in used and name != "default":
            _Findings(gathered, "route", name).warning("type", "no channel uses this route")
    for shadow in ChannelTable(config.channels).shadowed():
        gathered.warnings.append(str(shadow))


def check_files(config: Config, gathered: Gathered) -> None:
    """Look at the files that settings name, and at the addresses of this machine."""
    check_own_addresses(config, gathered)
    log = _Findings(gathered, "log")
    if config.log.path != "-" and not Path(config.log.path).parent.is_dir():
        log.mistake("path", f"{Path(config.log.path).parent} is no directory; make it first")
    if config.policy.file:
        try:
            load_policy(Path(config.policy.file))
        except PolicyError as error:
            _Findings(gathered, "policy").mistake("file", str(error))
    for listen in config.listen:
        findings = _Findings(gathered, "listen", listen.name)
        if listen.auth_users and _check_secret(listen.auth_users, "auth_users", findings):
            _check_users(listen.auth_users, findings)
        if listen.tls_certificate and listen.tls_key:
            _check_pair(listen, findings)
    _check_webhook_secrets(config, gathered)
    if config.console.tls_certificate and config.console.tls_key:
        _check_pair(config.console, _Findings(gathered, "console"))
    for name, route in config.routes.items():
        findings = _Findings(gathered, "route", name)
        if isinstance(route, RelayRoute) and route.password_file:
            _check_secret(route.password_file, "password_file", findings)
        if isinstance(route, MxRoute | RelayRoute) and route.tls.ca_file:
            _check_authorities(route.tls.ca_file, findings)
            if route.tls.mode not in _CHECKED:
                text = f'not used: tls = "{route.tls.mode}" does not check certificates'
                findings.warning("ca_file", text)
        if isinstance(route, PipeRoute):
            program = route.command[0]
            if not program.startswith("/") or not os.access(program, os.X_OK, effective_ids=True):
                text = f"{shown(program)} is no program; expected its absolute path"
                findings.mistake("command", text)


def _check_webhook_secrets(config: Config, gathered: Gathered) -> None:
    for webhook in config.webhooks:
        findings = _Findings(gathered, "webhook", webhook.name)
        paths = {"secret_file": webhook.secret_file}
        paths |= {"authorization_file": webhook.authorization_file}
        if all([_check_secret(path, name, findings) for name, path in paths.items() if path]):
            check_webhook_files(webhook, gathered)


def _check_secret(path: str, setting: str, findings: _Findings) -> bool:
    """A secret must be a file that we can read and others cannot."""
    try:
        state = Path(path).stat()
    except (OSError, ValueError) as error:
        findings.mistake(setting, f"{path}: {getattr(error, 'strerror', None) or error}")
        return False
    if not stat.S_ISREG(state.st_mode):
        findings.mistake(setting, f"{path} is no file; expected a file")
    elif state.st_mode & stat.S_IRWXO:
        findings.mistake(setting, f"{path} is open to everybody; run: chmod o= {path}")
    elif not os.access(path, os.R_OK, effective_ids=True):
        findings.mistake(setting, f"{path} cannot be read by this user; change its owner or group")
    elif state.st_size == 0:
        findings.mistake(setting, f"{path} is empty")
    else:
        return True
    return False


def _check_users(path: str, findings: _Findings) -> None:
    # Imported here, as below: it brings the whole of what hashes passwords.
    from postroom.ingress.users import load_users

    try:
        load_users(Path(path))
    except ConfigurationError as error:
        for line in str(error).splitlines():
            findings.mistake("auth_users", line)


def _check_pair(listen: ListenPolicy | ConsolePolicy, findings: _Findings) -> None:
    if not _check_secret(listen.tls_key, "tls_key", findings):
        return
    # Imported here: it takes as long as the rest of a command that only lists the queue, and
    # most configurations have no certificates.
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A key that asks for a password must fail here, not wait at the terminal.
        context.load_cert_chain(listen.tls_certificate, listen.tls_key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason and "MISMATCH" in error.reason:
            text = f"{listen.tls_key} is not the key of {listen.tls_certificate}"
        else:
            text = "certificate and key cannot be loaded; expected PEM files, the key unencrypted"
        findings.mistake("tls_certificate", text)
    except (OSError, ValueError) as error:
        text = f"{listen.tls_certificate}: {getattr(error, 'strerror', None) or error}"
        findings.mistake("tls_certificate", text)


def _check_authorities(path: str, findings: _Findings) -> None:
    import ssl

    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        findings.mistake("ca_file", f"{path} holds no certificates; expected a PEM file")
    except (OSError, ValueError) as error:
        findings.mistake("ca_file", f"{path}: {getattr(error, 'strerror', None) or error}")
