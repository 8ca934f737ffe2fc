"""Sign-in: whether the authorization server can be read, and whose memory each person sees."""

from contextlib import aclosing

from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Finding, failure, ok
from reflexio_mcp.settings import ConfigurationError

__all__ = ["check_sign_in"]


async def check_sign_in(environment: Environment) -> list[Finding]:
    """Read the authorization server's metadata and keys once, and ask it about a token where the server would."""
    settings = environment.settings
    if not settings.oauth_issuer:
        return []
    from reflexio_mcp.http.oauth import REFUSED, SignIn  # only servers with a sign-in need what it imports

    try:
        sign_in = SignIn(settings, {})
    except ConfigurationError as error:
        return [failure("configuration-invalid", str(error))]
    async with aclosing(sign_in):
        why, signed = await sign_in.trouble()
        if why:
            problem = "introspection-fails" if signed else "issuer-not-readable"
            if why.startswith(REFUSED):
                problem = "sign-in-client-refused"
            return [failure(problem, f"{settings.oauth_issuer} {why}")]
    return [ok(f"people sign in at {settings.oauth_issuer}, with tokens for {settings.oauth_audience}")]
