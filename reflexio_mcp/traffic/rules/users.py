"""Rules about user ids: one for everybody, or a new one every time."""

import zlib
from typing import ClassVar, Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.rules.detector import Detector, SessionSeen
from reflexio_mcp.traffic.rules.found import EXAMPLES, Example, example
from reflexio_mcp.traffic.rules.name_heuristics import has_id, is_anonymous, is_made_up

__all__ = ["AnonymousUsers", "NewUsers"]

ANONYMOUS_SESSIONS: Final = 10
"""Fewer are people who tried it before they signed in."""

NEW_USERS: Final = 20
"""Fewer are the first visitors of something new."""

NEW_USERS_SHARE: Final = 0.9
"""Of all users: with an id made for one session, and with one session only."""

RANDOM_USERS: Final = 50
"""With an id that nobody chose (a uuid, a hash) and one session each; of so many some would have come again."""

RANDOM_DAYS: Final = 3
"""In which who comes again has time to do it."""

USERS_KEPT: Final = 20_000
"""Distinct users an audit follows; what is beyond is like what came before."""


class AnonymousUsers(Detector):
    """`anonymous-user`."""

    carries: ClassVar = {"anonymous-user": lambda item: is_anonymous(item.request.user_id)}

    def __init__(self) -> None:
        super().__init__()
        self._sessions = 0
        self._users: dict[str, Example] = {}

    def session(self, seen: SessionSeen) -> None:
        anonymous = {
            item.request.user_id: item for item in seen.requests if is_anonymous(item.request.user_id)
        }
        self._sessions += bool(anonymous)
        for user, item in anonymous.items():
            if user not in self._users and len(self._users) < USERS_KEPT:
                self._users[user] = example(item)

    def finish(self) -> None:
        if self._sessions >= ANONYMOUS_SESSIONS:
            for user, one in self._users.items():
                self.founds[0].note_example(one, subject=user)
            self.founds[0].notes["sessions of them"] = self._sessions


class NewUsers(Detector):
    """`user-per-session`."""

    def __init__(self) -> None:
        super().__init__()
        # Each user with the session he was seen in, or -1 for several.
        self._sessions: dict[str, int] = {}
        self._made_up = 0
        self._random = 0
        self._first, self._last = 2**62, 0
        self._examples: list[Example] = []

    def request(self, item: RequestWithInteractions) -> None:
        request = item.request
        session = zlib.crc32(request.session_id.encode("utf-8", "surrogatepass"))
        known = self._sessions.get(request.user_id)
        self._first, self._last = min(self._first, request.created_at), max(self._last, request.created_at)
        if known is None and len(self._sessions) < USERS_KEPT:
            self._sessions[request.user_id] = session
            made_up = is_made_up(request.user_id, request.session_id, request.created_at)
            is_random = has_id(request.user_id)
            self._made_up += made_up
            self._random += made_up or is_random
            if (made_up or is_random) and len(self._examples) < EXAMPLES:
                self._examples.append(example(item))
        elif known is not None and known != session:
            self._sessions[request.user_id] = -1

    def finish(self) -> None:
        (found,) = self.founds
        users = len(self._sessions)
        once = sum(session >= 0 for session in self._sessions.values())
        least = NEW_USERS_SHARE * users
        made_up = users >= NEW_USERS and min(once, self._made_up) >= least
        # Nobody comes a second time: no people are like that, and ids that nobody chose are no people's.
        never_again = users >= RANDOM_USERS and min(once, self._random) >= least
        if made_up or (never_again and self._last - self._first >= RANDOM_DAYS * 86_400):
            found.add("")
            if made_up:
                found.notes["users with an id made for one session"] = self._made_up
            else:
                found.notes["users with a random id and one session"] = min(once, self._random)
            for one in self._examples:
                found.show(one)
