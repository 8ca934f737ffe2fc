"""What the checks find, and every problem that they name: what it means and the one thing to do about it."""

import re
from typing import Final, Literal, NamedTuple

from reflexio_mcp.rest.errors import NotAuthorized, ReflexioError, explain

__all__ = ["PROBLEMS", "Finding", "Problem", "failed_call", "note", "ok", "problem"]

Status = Literal["ok", "note", "warning", "failure"]


class Finding(NamedTuple):
    """One thing that was found.

    Args:
        status: `failure` if something does not work, `warning` if it might not.
        what: what was found.
        name: of the problem, a key of `PROBLEMS` or the name of a failed call; empty if all is well.
        why: what the problem means.
        do: the one thing to do about it.
        check: which check found it.
        where: this shell, or the entries of clients that it is about.
    """

    status: Status
    what: str
    name: str = ""
    why: str = ""
    do: str = ""
    check: str = ""
    where: str = ""


class Problem(NamedTuple):
    """What a problem means, and what to do, as whole sentences."""

    status: Status
    means: str
    do: str


_KEY_FROM_ACCOUNT: Final = "Set REFLEXIO_API_KEY to a key from your Reflexio account."
_INSTALL_AGAIN: Final = "Run `reflexio-mcp install` for this client again."

# fmt: off
PROBLEMS: Final[dict[str, Problem]] = {
    "configuration-invalid": Problem(
        "failure", "The server refuses this value and does not start.", "Correct the value."),
    "key-missing": Problem("failure", "The server answers nobody without a key.", _KEY_FROM_ACCOUNT),
    "key-refused": Problem("failure", "The server does not know this key, or it was revoked.", _KEY_FROM_ACCOUNT),
    "key-malformed": Problem(
        "failure", "No key looks like that: it contains blanks or quotes, begins with Bearer, or is an example.",
        "Set REFLEXIO_API_KEY to the bare key from your Reflexio account."),
    "key-sent-in-clear": Problem(
        "warning", "Anyone on the network path can read it.", "Use an https address in REFLEXIO_URL."),
    "certificate-not-trusted": Problem(
        "failure", "The certificate has expired, is for another name, or its issuer is not known to this machine.",
        "Have it renewed, or name the issuer's certificate file in SSL_CERT_FILE."),
    "storage-not-configured": Problem(
        "failure", "What is published would go nowhere.", "Finish setting up the Reflexio server."),
    "server-older": Problem("warning", "Calls that it does not know will fail.", "Upgrade the Reflexio server."),
    "clock-skew": Problem(
        "warning", "A filter such as the last hour uses this machine's clock on times of the server's clock.",
        "Let both machines set their clocks from the network."),
    "store-not-usable": Problem(
        "failure", "Nothing can be stored, read or deleted.",
        "Name another file in REFLEXIO_MCP_STORE, or change the permissions."),
    "state-not-usable": Problem(
        "failure", "A deletion that cannot be recorded and counted is not carried out.",
        "Let the server write to the folder of the store, or correct REFLEXIO_MCP_STATE."),
    "sign-in-fails": Problem(
        "failure", "Access tokens cannot be checked, so nobody can sign in.",
        "Compare REFLEXIO_MCP_OAUTH_ISSUER, the client id and its secret with the authorization server."),
    "client-file-unreadable": Problem(
        "warning", "The client cannot read the file either.", "Correct the file or its permissions."),
    "client-command-missing": Problem("failure", "The client has nothing to start.", _INSTALL_AGAIN),
    "client-key-not-set": Problem(
        "warning", "Started from this shell, the server would have no key.",
        "Set the variable where the client is started."),
    "client-key-in-file": Problem(
        "warning", "This client can take the key from elsewhere.",
        "Set REFLEXIO_API_KEY and run `reflexio-mcp install` for this client again."),
    "no-client": Problem("note", "No client has this server yet.", "Run `reflexio-mcp install`."),
}
# fmt: on


def ok(what: str) -> Finding:
    return Finding("ok", what)


def note(what: str) -> Finding:
    return Finding("note", what)


def problem(name: str, what: str, do: str = "") -> Finding:
    """A finding of `PROBLEMS`; `do` replaces the sentence there."""
    found = PROBLEMS[name]
    return Finding(found.status, what, name, found.means, do or found.do)


def failed_call(error: ReflexioError, *, has_key: bool) -> Finding:
    """A call to Reflexio that failed, in the words that a model reads too."""
    what, _, do = explain(error, "read").partition(". ")
    if isinstance(error, NotAuthorized) and "User-Agent" not in error.detail:
        return problem("key-refused" if has_key else "key-missing", f"{what}.")
    if "certificate" in error.detail:
        return problem("certificate-not-trusted", f"{what}.")
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    return Finding("failure", f"{what}.", name, "The call did not succeed.", do)
