"""What stops an installation. Nothing has been written when one of these is raised."""

__all__ = ["ForeignError", "InstallError", "MalformedError", "NotFoundError"]


class InstallError(Exception):
    """Base: one or two sentences saying what is wrong and what to do."""


class MalformedError(InstallError):
    """The client's file cannot be read as what it should be, so it was left alone."""


class ForeignError(InstallError):
    """The entry's name belongs to something that this package did not write; says what that is."""


class NotFoundError(InstallError):
    """The client was not found on this machine."""
