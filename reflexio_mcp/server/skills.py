"""The three skills, offered over MCP by the Skills extension (SEP-2640): https://modelcontextprotocol.io/seps/2640-skills-extension

A skill is a prompt of `server/prompts.py` as a file with a description in place of each argument. `scripts/plugin.py`
writes the same files into the plugin.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, CacheableResult, PaginatedRequestParams, RequestParams, Resource
from pydantic import BaseModel

from reflexio_mcp.server.calls import Ctx
from reflexio_mcp.server.prompts import PROMPTS, TaskPrompt

MARKDOWN: Final = "text/markdown"

TTL_MS: Final = 300_000
"""A client may keep a listing for five minutes: it changes only if the operator restarts the server."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill that is made from a prompt.

    Args:
        when: when an assistant should use it, after "Use when".
        before: what comes before the prompt's text: the tool that a step names, and the step.
    """

    name: str
    prompt_name: str
    when: str
    before: Sequence[tuple[str, str]] = ()

    @property
    def prompt(self) -> TaskPrompt:
        return next(prompt for prompt in PROMPTS if prompt.name == self.prompt_name)

    @property
    def uri(self) -> str:
        return f"skill://{self.name}/SKILL.md"

    @property
    def description(self) -> str:
        return f"{self.prompt.description} Use when {self.when}."

    def file(self, tools: Collection[str], *, confirm: str, learns: bool, first: str = "") -> str:
        """Return the text of `SKILL.md`.

        Args:
            tools: the tools that it may name.
            first: a sentence for readers who get the file without the server.
        """
        prompt = self.prompt
        # A skill is about the person who talks, so it asks for no user.
        asked = {name: f"<{prompt.arguments[name]}>" for name in prompt.accepted(scoped=True)}
        before = "".join(step for tool, step in self.before if tool in tools)
        text = first + before + prompt.write(asked, tools, confirm=confirm, learns=learns)
        if asked:
            text += " Replace what is in angle brackets; leave out what you do not know, and ask me if nothing is left."
        front = f"name: {self.name}\ndescription: {json.dumps(self.description)}"
        return f"---\n{front}\n---\n\n{text}\n"


SKILLS: Final = (
    Skill(
        "what-do-you-remember",
        "review_user_traffic",
        "the person asks what you remember or stored about them",
    ),
    Skill(
        "forget-something",
        "forget_conversation",
        "the person asks you to forget something",
        (
            (
                "list_requests",
                (
                    "If no conversation is named, call list_requests with words for `contains`, show me what matches "
                    "and ask what to delete. "
                ),
            ),
            ("delete_request", "For a single request call delete_request in place of delete_session. "),
        ),
    ),
    Skill("clean-up-test-run", "clean_up_test_run", "a test run or an experiment left requests in memory"),
)


class SkillFile(BaseModel):
    """A file of a skill. `digest` is `sha256:` and 64 hexadecimal digits; `size` is in bytes."""

    uri: str
    digest: str
    size: int


class SkillEntry(BaseModel):
    """What the extension says of a skill."""

    uri: str
    frontmatter: dict[str, str]
    resources: list[SkillFile]


class ListedSkills(CacheableResult):
    result_type: str = "complete"
    skills: list[SkillEntry]


class FoundSkill(CacheableResult):
    result_type: str = "complete"
    skill: SkillEntry


class GetSkillParams(RequestParams):
    uri: str


class Skills(Extension):
    """Answers `skills/list` and `skills/get`. The files themselves are resources.

    Args:
        offered: the names of the tools that the caller may use; a skill needs those of its prompt.
        write: returns a skill's file for this caller.
    """

    identifier = "io.modelcontextprotocol/skills"

    def __init__(self, offered: Callable[[], frozenset[str]], write: Callable[[Skill], str]) -> None:
        self._offered = offered
        self._write = write

    def methods(self) -> tuple[MethodBinding, ...]:
        return (
            MethodBinding("skills/list", PaginatedRequestParams, self._list),
            MethodBinding("skills/get", GetSkillParams, self._get),
        )

    def listed(self) -> list[Skill]:
        tools = self._offered()
        return [skill for skill in SKILLS if skill.prompt.needs <= tools]

    def files(self) -> list[Resource]:
        """Return the skills' files as resources."""
        return [
            Resource(uri=skill.uri, name=skill.name, description=skill.description, mime_type=MARKDOWN)
            for skill in self.listed()
        ]

    def read(self, uri: str) -> str | None:
        """Return the file at an address; `None` if this caller has no skill there."""
        return next((self._write(skill) for skill in self.listed() if skill.uri == uri), None)

    async def _list(self, ctx: Ctx, params: PaginatedRequestParams) -> dict[str, Any]:
        if params.cursor is not None:
            raise MCPError(INVALID_PARAMS, "The cursor is not from skills/list, which has one page.")
        return _result(ListedSkills(skills=[self._entry(skill) for skill in self.listed()], ttl_ms=TTL_MS))

    async def _get(self, ctx: Ctx, params: GetSkillParams) -> dict[str, Any]:
        for skill in self.listed():
            if skill.uri == params.uri:
                return _result(FoundSkill(skill=self._entry(skill), ttl_ms=TTL_MS))
        raise MCPError(INVALID_PARAMS, "There is no skill at this address; skills/list names them.")

    def _entry(self, skill: Skill) -> SkillEntry:
        content = self._write(skill).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return SkillEntry(
            uri=skill.uri,
            frontmatter={"name": skill.name, "description": skill.description},
            resources=[SkillFile(uri=skill.uri, digest=digest, size=len(content))],
        )


def _result(result: CacheableResult) -> dict[str, Any]:
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)
