"""Sign-in: whether the authorization server can be read, and whose memory each person sees."""

from contextlib import aclosing

from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Finding, failure, ok
from reflexio_mcp.settings import ConfigurationError

__all__ = ["check_sign_in"]


async def check_sign_in(environment: Environment) -> list[Finding]:
    """Read the authorization server's metadata and keys once."""
    settings = environment.settings
    if not settings.oauth_issuer:
        return []
    from reflexio_mcp.http.oauth import SignIn  # only servers with a sign-in need what it imports

    try:
        sign_in = SignIn(settings)
    except ConfigurationError as error:
        return [failure("configuration-invalid", str(error))]
    async with aclosing(sign_in):
        if not await sign_in.is_ready():
            said = f"the metadata and keys of {settings.oauth_issuer} cannot be read"
            return [failure("issuer-not-readable", said)]
    return [ok(f"people sign in at {settings.oauth_issuer}, with tokens for {settings.oauth_audience}")]
