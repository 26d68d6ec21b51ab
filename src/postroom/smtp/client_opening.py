"""The opening of an SMTP or LMTP client session: greeting, EHLO, STARTTLS, AUTH.

Owns what is said and learned before the first transaction, and how a session ends;
smtp.client adds the transactions. See there for how the driver uses it.

Guarantees: 1. nothing learned in clear is used under TLS.  2. credentials are sent only
under TLS or where clear AUTH is allowed, and appear in no reply and no dialogue.
Called by: smtp.client.  Raises: nothing; what the server does wrong is a Failure.
RFC 5321 §3.2, RFC 2033 §4.1, RFC 3207, RFC 4616, RFC 4954.
"""

from __future__ import annotations

import base64

from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.smtp.client_capabilities import (
    NO_CAPABILITIES,
    Capabilities,
    parse_capabilities,
)
from postroom.smtp.client_options import ClientOptions
from postroom.smtp.client_states import (
    TRANSITIONS,
    Cause,
    Failure,
    Signal,
    Stage,
    State,
    cause_of,
)

_DIALOGUE_LINES_MAX = 64
"""Lines of a session's opening that are kept for the transcript of a failure."""

_STAGES = {
    State.GREETING: Stage.GREETING,
    State.HELLO: Stage.HELLO,
    State.OLD_HELLO: Stage.HELLO,
    State.STARTTLS: Stage.TLS,
    State.HANDSHAKE: Stage.TLS,
    State.AUTH: Stage.AUTH,
    State.READY: Stage.MAIL,
    State.ENVELOPE: Stage.MAIL,
    State.CONTENT: Stage.DATA,
    State.FINAL: Stage.FINAL,
    State.QUITTING: Stage.FINAL,
    State.CLOSED: Stage.FINAL,
}


class Opening:
    """State, failure and capabilities of a session, and its steps up to READY."""

    __slots__ = (
        "_auth",
        "_options",
        "capabilities",
        "dialogue",
        "failure",
        "is_secured",
        "state",
    )

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._auth: list[bytes] = []
        self.state = State.GREETING
        self.capabilities: Capabilities = NO_CAPABILITIES
        self.failure: Failure | None = None
        self.dialogue: list[str] = []
        self.is_secured = options.secured

    @property
    def stage(self) -> Stage:
        """The step the session is in."""
        return _STAGES[self.state]

    def fail(self, cause: Cause, text: str, enhanced: str = "4.4.2") -> None:
        """End the session for something that is not a reply: lost, timed out, ours."""
        if self.state is State.CLOSED:
            return
        code = 451 if enhanced[0] == "4" else 554
        self._close(Failure(self.stage, cause, Reply(code, EnhancedStatusCode(enhanced), text)))

    def _go(self, signal: Signal) -> None:
        self.state = TRANSITIONS[self.state][signal]

    def _close(self, failure: Failure) -> None:
        self.failure = failure
        self._go(Signal.CLOSE)

    def _refused(self, reply: Reply) -> bytes:
        cause = cause_of(reply)
        if cause is Cause.ACCEPTED:
            cause = Cause.VIOLATION
        self._close(Failure(self.stage, cause, reply))
        return b""

    def _unsuitable(self, stage: Stage, text: str, enhanced: str) -> None:
        self._close(
            Failure(stage, Cause.UNSUITABLE, Reply(451, EnhancedStatusCode(enhanced), text))
        )

    def _violation(self, text: str) -> None:
        self.fail(Cause.VIOLATION, f"{self._options.peer} {text}", "4.5.0")

    def _say(self, line: str, shown: str = "") -> bytes:
        if len(self.dialogue) < _DIALOGUE_LINES_MAX:
            self.dialogue.append(f"> {shown or line}")
        return line.encode("utf-8") + b"\r\n"

    def _without_secrets(self, reply: Reply) -> Reply:
        """Return a reply to AUTH without what we said: some servers repeat it, and logs keep it."""
        credentials = self._options.credentials
        assert credentials is not None
        user, password = credentials.user.encode(), credentials.password.encode()
        text = reply.text
        for said in (
            base64.b64encode(b"\0" + user + b"\0" + password).decode("ascii"),
            base64.b64encode(password).decode("ascii"),
            credentials.password,
        ):
            text = text.replace(said, "...") if said else text
        return reply if text == reply.text else Reply(reply.code, reply.enhanced, text)

    def _on_opening(self, reply: Reply) -> bytes:
        if self.state is State.AUTH:
            reply = self._without_secrets(reply)
        if len(self.dialogue) < _DIALOGUE_LINES_MAX:
            self.dialogue.append(f"< {reply}")
        cause = cause_of(reply)
        if cause is Cause.CLOSING:
            return self._refused(reply)
        match self.state:
            case State.GREETING:
                if cause is not Cause.ACCEPTED:
                    return self._refused(reply)
                self._go(Signal.GO)
                verb = "LHLO " if self._options.lmtp else "EHLO "
                return self._say(verb + self._options.hostname)
            case State.HELLO:
                return self._on_hello(reply, cause)
            case State.OLD_HELLO:
                if cause is not Cause.ACCEPTED:
                    return self._refused(reply)
                self.capabilities = Capabilities(name=reply.text.split(" ", 1)[0])
                return self._after_hello()
            case State.STARTTLS:
                if cause is Cause.ACCEPTED:
                    self._go(Signal.GO)
                    return b""
                if self._options.starttls_required:
                    return self._refused(reply)
                return self._authenticate(Signal.FALL_BACK)
            case State.AUTH:
                return self._on_auth(reply, cause)
            case State.CONTENT if reply.code >= 400:
                # Refused before all of it was sent: no content is read any more.
                return self._refused(reply)
            case _:
                # READY: nothing was asked.
                self._violation(f"said without being asked: {reply}")
                return b""

    def _on_hello(self, reply: Reply, cause: Cause) -> bytes:
        if cause is Cause.PERMANENT and not self._options.lmtp:
            # RFC 5321 §3.2: a server that does not know EHLO is greeted with HELO.
            self._go(Signal.FALL_BACK)
            return self._say("HELO " + self._options.hostname)
        if cause is not Cause.ACCEPTED:
            return self._refused(reply)
        self.capabilities = parse_capabilities(reply)
        return self._after_hello()

    def _after_hello(self) -> bytes:
        options = self._options
        if options.detect_loop and self.capabilities.name.lower() == options.hostname.lower():
            self.fail(Cause.LOOP, f"mail for {options.peer} loops back to myself", "5.4.6")
            return b""
        if not self.is_secured:
            if options.starttls and self.capabilities.starttls:
                self._go(Signal.UPGRADE)
                return self._say("STARTTLS")
            if options.starttls_required:
                text = f"TLS is required, but {options.peer} does not offer it"
                self._unsuitable(Stage.TLS, text, "4.7.4")
                return b""
        return self._authenticate(Signal.GO)

    def _authenticate(self, otherwise: Signal) -> bytes:
        credentials = self._options.credentials
        if credentials is None:
            self._go(otherwise)
            return b""
        peer = self._options.peer
        if not (self.is_secured or self._options.clear_auth):
            # RFC 4954 §4: no password in clear over a network.
            self._unsuitable(Stage.AUTH, f"AUTH with {peer} needs TLS", "4.7.11")
            return b""
        user, password = credentials.user.encode(), credentials.password.encode()
        offered = self.capabilities.auth
        if "PLAIN" not in offered and "LOGIN" not in offered:
            self._unsuitable(Stage.AUTH, f"{peer} offers no AUTH PLAIN or LOGIN", "4.7.0")
            return b""
        self._go(Signal.AUTHENTICATE)
        if "PLAIN" in offered:
            # RFC 4616 §2, with the initial response of RFC 4954 §4.
            token = base64.b64encode(b"\0" + user + b"\0" + password)
            self._auth = [token]
            return self._say("AUTH PLAIN " + token.decode("ascii"), "AUTH PLAIN ...")
        self._auth = [base64.b64encode(user), base64.b64encode(password)]
        return self._say("AUTH LOGIN")

    def _on_auth(self, reply: Reply, cause: Cause) -> bytes:
        if cause is Cause.ACCEPTED:
            self._auth = []
            self._go(Signal.GO)
            return b""
        if reply.is_intermediate and self._auth:
            return self._say(self._auth.pop(0).decode("ascii"), "...")
        self._auth = []
        return self._refused(reply)
