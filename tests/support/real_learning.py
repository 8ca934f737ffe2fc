"""A real Reflexio server that learns from conversations, and one test's own corner of it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Interaction, PublishBody, PublishReply, RequestQuery, UserProfile
from tests.support.scripted_model import Rule, ScriptedModel


@dataclass(frozen=True)
class LearningReflexio:
    """The server.

    Args:
        url: where it listens.
        model: what it learns with.
        home: the folder with its database and its logs.
    """

    url: str
    model: ScriptedModel
    home: Path


@dataclass
class Corner:
    """Users, sessions and requests that no other test on the same server has: every id goes through `name`."""

    server: LearningReflexio
    rest: ReflexioClient
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def model(self) -> ScriptedModel:
        return self.server.model

    def name(self, text: str) -> str:
        return f"{text}-{self.tag}"

    def learn(self, when: str, **learned: str) -> None:
        """Tell the model what to learn where this is said, in the words of `Rule`."""
        self.model.rules.append(Rule(when, **learned))

    async def say(
        self, request_id: str, *texts: str, user: str = "ada", session: str = "s", **options: Any
    ) -> PublishReply:
        """Publish a request of these turns; with `force_extraction`, return when it has been learned from."""
        body = PublishBody(
            user_id=self.name(user),
            session_id=self.name(session),
            request_id=self.name(request_id),
            interaction_data_list=[Interaction(content=text) for text in texts],
            **options,
        )
        wait = body.force_extraction or body.session_finished
        reply = await self.rest.publish(body, minted=False, wait=wait)
        assert not wait or reply.learning_status == "done", reply
        return reply

    async def interactions(self, *request_ids: str) -> list[int]:
        """The ids of the stored interactions of requests."""
        found: list[int] = []
        for one in request_ids:
            page = await self.rest.get_requests(RequestQuery(request_id=self.name(one)))
            for group in page.sessions:
                found += [turn.interaction_id for item in group.requests for turn in item.interactions]
        return found

    async def profiles(self, user: str = "ada") -> Sequence[UserProfile]:
        """Every profile of a user, whatever its status."""
        return await self.rest.get_profiles(self.name(user), top_k=1_000_000)
