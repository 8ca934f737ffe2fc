"""Every problem that doctor names: what it means and the one thing to do about it.

The only place for these sentences: findings take them from here, and so does the table in
docs/troubleshooting.md. A finding adds what it saw, and may replace `do` where it knows better.
"""

from typing import Final, NamedTuple

__all__ = ["PROBLEMS", "Problem"]


class Problem(NamedTuple):
    """What a problem means, and what to do; both are whole sentences."""

    means: str
    do: str


_KEY_FROM_ACCOUNT: Final = "Set REFLEXIO_API_KEY to a key from your Reflexio account."
_SERVER_LOG: Final = "Look at the Reflexio server's log."
_NOTE: Final = "Nothing; this is for information."
_API_ADDRESS: Final = (
    "Set REFLEXIO_URL to the API's own address: scheme, host and port, without a page's path."
)
_INSTALL_AGAIN: Final = "Run `reflexio-mcp install` for this client again."

# fmt: off
PROBLEMS: Final[dict[str, Problem]] = {
    # The configuration
    "configuration-invalid": Problem("The server refuses this value and does not start.", "Correct the value."),
    "placeholder-not-expanded": Problem(
        "The client passed the reference on as text, because the variable is not set where it was started. The server "
        "does not start with it.",
        "Set the variable where the client is started, or write the value itself."),
    "limit-is-empty": Problem(
        "An empty variable counts as not set, so it limits nothing.", "Give it a value, or take it out."),
    "unknown-variable": Problem(
        "Nothing reads this variable, so what it should set keeps its default. A misspelt variable of this "
        "server also stops the start.",
        "Remove it."),
    # The key
    "key-missing": Problem("The server answers nobody without a key.", _KEY_FROM_ACCOUNT),
    "key-refused": Problem("The server does not know this key, or it was revoked.", _KEY_FROM_ACCOUNT),
    "key-malformed": Problem(
        "It would be sent like this, and no key looks like that.",
        "Set the bare key, without quotes and without Bearer."),
    "key-is-an-example": Problem("The key in the example was never replaced.", _KEY_FROM_ACCOUNT),
    "key-sent-in-clear": Problem("Anyone on the network path can read it.", "Use an https address in REFLEXIO_URL."),
    # The way to the server
    "proxy-unreachable": Problem(
        "A *_PROXY variable names this proxy, so no call arrives.",
        "Correct the variable, or add the server's host to NO_PROXY."),
    "proxy-for-localhost": Problem(
        "To the proxy, localhost is the proxy's own machine.", "Add the host to NO_PROXY."),
    "name-service-silent": Problem(
        "The name service of this machine does not answer.", "Check this machine's network and VPN."),
    "host-unknown": Problem(
        "REFLEXIO_URL is misspelt, or this machine has no name service now.",
        "Open the address in a browser on this machine and correct REFLEXIO_URL."),
    "connection-refused": Problem(
        "Nothing listens on that port.", "Start the Reflexio server, or correct the port in REFLEXIO_URL."),
    "connection-times-out": Problem(
        "A firewall drops the connection, or the machine is off.",
        "Check the address in REFLEXIO_URL, the VPN and the firewall."),
    "tls-untrusted": Problem(
        "This machine does not know the certificate's issuer: it is a company's own, or self-signed.",
        "Name the issuer's certificate file in SSL_CERT_FILE."),
    "tls-expired": Problem(
        "No call is sent to a server with an expired certificate.",
        "Have the certificate renewed, and check this machine's clock."),
    "tls-wrong-host": Problem(
        "The certificate was made for another name.", "Use the certificate's name in REFLEXIO_URL."),
    "tls-ends-soon": Problem("After that, no call works.", "Ask whoever runs the server to renew the certificate."),
    "tls-not-spoken": Problem(
        "A plain http server listens there.", "Write http:// in REFLEXIO_URL, or use the port that has TLS."),
    "tls-broken": Problem(
        "Something on the way ends the handshake.", "Look for a proxy or a firewall that inspects TLS."),
    # What answers
    "address-invalid": Problem("No call can be sent to it.", "Correct REFLEXIO_URL."),
    "unreachable": Problem("No connection was made.", "Start the server, or correct REFLEXIO_URL."),
    "no-answer-in-time": Problem("The server is overloaded, or hangs.", "Look at the server, then try again."),
    "connection-broken": Problem(
        "The server, or something on the way, closed the connection before the answer was complete.",
        "Check proxies and the port: plain http to a TLS port looks like this."),
    "redirected": Problem("A web site answers there, not the API.", _API_ADDRESS),
    "not-the-api": Problem("Something else answers at that address.", _API_ADDRESS),
    "user-agent-refused": Problem(
        "The server turns away what looks like a crawler; a proxy may have replaced the User-Agent.",
        "Let the proxy pass the User-Agent on, or bypass it with NO_PROXY."),
    "call-refused": Problem("A plain call is refused.", "Check that the server's version fits."),
    "rate-limited": Problem("Too many calls came from here in the last minute.", "Wait a minute and run this again."),
    "rate-nearly-used": Problem(
        "The server refuses further publishes for a while once the limit is reached.",
        "Publish less often, or put several turns into one request."),
    "storage-failed": Problem("The server runs, but its storage does not.", _SERVER_LOG),
    "storage-not-configured": Problem(
        "What is published would go nowhere.", "Finish setting up the Reflexio server."),
    "server-fault": Problem("The server had an internal error.", _SERVER_LOG),
    "server-older": Problem("Calls that it does not know will fail.", "Upgrade the Reflexio server."),
    "version-unknown": Problem(
        "The server names no released version; one installed from a package may say 0.0.0-dev.", _NOTE),
    "clock-skew": Problem(
        "A filter such as the last hour uses this machine's clock on times that the server's clock gave.",
        "Let both machines set their clocks from the network."),
    "clock-unknown": Problem("The server does not tell its time.", _NOTE),
    # Files of this server's own
    "store-in-memory": Problem("Nothing is kept when the server stops, as asked for.", _NOTE),
    "store-not-writable": Problem(
        "The store's file or its folder cannot be written.",
        "Name another file in REFLEXIO_MCP_STORE, or change the permissions."),
    "store-not-readable": Problem(
        "Another program holds the file, or the folder's permissions do not allow it.",
        "Close what uses it, and check its folder's permissions."),
    "store-not-a-store": Problem(
        "It is another program's file, or damaged. It is never written to.",
        "Name another file in REFLEXIO_MCP_STORE."),
    "store-newer": Problem(
        "This version does not know the file's layout and leaves it alone.", "Upgrade reflexio-mcp."),
    "store-readable-by-others": Problem(
        "Other users of this machine can read the conversations in it.", "Run `chmod 600` on the file."),
    "disk-nearly-full": Problem("Publishing fails once the disk is full.", "Free some space."),
    "audit-log-not-writable": Problem(
        "While the audit log cannot be written, nothing is deleted.",
        "Name another file in REFLEXIO_MCP_AUDIT_LOG, or change the permissions."),
    "recovery-not-writable": Problem(
        "Recovery copies cannot be kept.",
        "Name another folder in REFLEXIO_MCP_RECOVERY_DIR, or change the permissions."),
    "state-not-writable": Problem(
        "While what is deleted in an hour cannot be counted there, nothing is deleted.",
        "Let the server write to the folder, or name a file in another folder with REFLEXIO_MCP_STORE."),
    "state-not-usable": Problem(
        "While the state database (REFLEXIO_MCP_STATE) does not work, nothing is deleted.",
        "Check the URL, the role's rights and the database's log."),
    # Sign-in
    "issuer-not-readable": Problem(
        "Access tokens are checked with the keys that it names, so nobody can sign in.",
        "Write REFLEXIO_MCP_OAUTH_ISSUER exactly as the metadata have it, or look at the authorization server."),
    "sign-in-client-refused": Problem(
        "Access tokens that are no JWTs are checked by asking, so nobody with such a token can sign in.",
        "Correct REFLEXIO_MCP_OAUTH_CLIENT_ID and REFLEXIO_MCP_OAUTH_CLIENT_SECRET, or let that client ask there."),
    "introspection-fails": Problem(
        "Access tokens that are no JWTs are checked by asking, so nobody with such a token can sign in.",
        "Look at the authorization server. If all its tokens are JWTs, take REFLEXIO_MCP_OAUTH_CLIENT_ID and "
        "REFLEXIO_MCP_OAUTH_CLIENT_SECRET out."),
    # The clients
    "no-client": Problem("No client has this server yet.", "Run `reflexio-mcp install`."),
    "client-file-malformed": Problem("The client cannot read the file either.", "Correct the file."),
    "client-file-unreadable": Problem(
        "The client's entries cannot be checked.", "Check the file and its permissions."),
    "client-entry-foreign": Problem(
        "It is not this server, so it was not started.", "Nothing, if that is what you want."),
    "client-entry-remote": Problem(
        "What a shared server does is decided where it runs.", "Run `reflexio-mcp doctor` there."),
    "client-entry-incomplete": Problem("The client has nothing to start.", _INSTALL_AGAIN),
    "client-command-missing": Problem(
        "The program is not there, or not on the PATH that the client has.", _INSTALL_AGAIN),
    "client-start-fails": Problem("The server starts and ends at once.", _INSTALL_AGAIN),
    "client-start-silent": Problem("The server starts and never answers.", _INSTALL_AGAIN),
    "client-key-not-set": Problem(
        "Started from this shell, the server would have no key, so what needs the key was not checked.",
        "Set the variable where the client is started."),
    "client-key-in-file": Problem(
        "This client can take the key from elsewhere.",
        "Set REFLEXIO_API_KEY and run `reflexio-mcp install` for this client again."),
    # --write
    "write-not-listed": Problem(
        "The server takes requests and does not show them: its storage lags, or is another one.",
        "Look at the server's storage."),
    "write-not-deleted": Problem(
        "Deleting it failed, or could not be verified.", "Delete it by its id when the server works again."),
}
# fmt: on
