"""Permissions of people who signed in."""

from enum import StrEnum

__all__ = ["Permission"]


class Permission(StrEnum):
    """What somebody who signed in may do here; the scope of OAuth is `memory:` and this word."""

    READ = "read"
    PUBLISH = "publish"
    DELETE = "delete"
