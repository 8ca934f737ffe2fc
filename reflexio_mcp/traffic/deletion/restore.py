"""Storing again what a recovery copy holds."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import anyio
import anyio.to_thread
from pydantic import ValidationError

from reflexio_mcp.rest.errors import AlreadyExists, RateLimited, ReflexioError
from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    RequestWithInteractions,
    RetrievedLearning,
    StoredInteraction,
    StoredRequest,
    ToolUse,
)
from reflexio_mcp.state.recovery_copies import RecoveryCopies, RecoveryCopy, contents, read_at
from reflexio_mcp.traffic.errors import NotStored
from reflexio_mcp.traffic.reading.lookup import Progress, read_set, require_id
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Became", "Restored", "restore"]

Became = Literal["restored", "already_there", "not_restorable", "not_in_copy", "left"]
"""What became of one id. `left` means that the call ended before its turn: a repeat goes on there."""

UNREADABLE = "The recovery copy cannot be read; nothing was restored. See the server's log."


@dataclass
class Restored:
    """What a restore did.

    Args:
        copy: the recovery copy.
        outcomes: what became of each id.
        turns_lost: interactions that cannot be stored again in the form in which the API returned them.
        waiting: seconds until the service accepts more, when its rate limit ended the call.
        failure: what else ended the call early.
        stored: the requests that were stored again.
    """

    copy: RecoveryCopy
    outcomes: dict[str, Became] = field(default_factory=dict[str, Became])
    turns_lost: int = 0
    waiting: float | None = None
    failure: ReflexioError | None = None
    stored: list[StoredRequest] = field(default_factory=list[StoredRequest])

    def ids(self, became: Became) -> list[str]:
        return [one for one, what in self.outcomes.items() if what == became]


async def restore(
    scope: Scope,
    copies: RecoveryCopies,
    owner: str,
    copy_id: str,
    request_ids: Sequence[str] = (),
    *,
    evaluation_only: bool = False,
    seconds: float = 45.0,
    clock: Callable[[], float] = time.monotonic,
    progress: Progress | None = None,
) -> Restored:
    """Publish the requests of a copy again under their own ids, oldest first.

    A stored request is never overwritten. The call ends after `seconds`, or when the service's rate limit is reached,
    and names what is left; a repeat goes on there.

    Args:
        request_ids: only these; all when empty.
        evaluation_only: store them so that nothing is learned from them again.

    Raises:
        InvalidInput: an id is blank.
        NotStored: there is no such copy in this scope, or it cannot be read.
        ReflexioError: what is already stored could not be read; nothing was restored.
    """
    copy = copies.find(owner, copy_id.strip())
    if copy is None:
        raise NotStored("No recovery copy has this copy_id. List the copies with restore_requests alone.")
    try:
        held = await anyio.to_thread.run_sync(contents, copy)
    except (OSError, ValueError) as error:
        raise NotStored(UNREADABLE) from error
    chosen = list(dict.fromkeys(require_id("request_ids", one) for one in request_ids)) or list(held)
    done = Restored(copy, {one: "left" if one in held else "not_in_copy" for one in chosen})
    wanted = [one for one in held if one in done.outcomes]

    async def there(items: list[RequestWithInteractions]) -> None:
        done.outcomes.update((item.request.request_id, "already_there") for item in items)

    await read_set(scope, wanted, there, progress=progress)
    until = clock() + seconds
    for one in wanted:
        if clock() >= until:
            break
        if done.outcomes[one] != "left":
            continue
        try:
            item = await anyio.to_thread.run_sync(read_at, copy, held[one])
        except (OSError, ValueError):
            done.outcomes[one] = "not_restorable"
            continue
        try:
            await _publish(scope, item, evaluation_only, done)
        except RateLimited as error:
            done.waiting = error.retry_after or 60.0
            break
        except ReflexioError as error:
            done.failure = error
            break
        if progress:
            await progress("restored", len(chosen) - len(done.ids("left")), len(chosen))
    return done


async def _publish(
    scope: Scope, item: RequestWithInteractions, evaluation_only: bool, done: Restored
) -> None:
    request = item.request
    turns = [turn for stored in item.interactions if (turn := _turn(stored))]
    done.outcomes[request.request_id] = "not_restorable"
    if not turns or not scope.covers(request.user_id):
        return
    body = PublishBody(
        user_id=request.user_id,
        session_id=request.session_id,
        request_id=request.request_id,
        interaction_data_list=turns,
        source=request.source,
        agent_version=request.agent_version,
        evaluation_only=evaluation_only or request.evaluation_only,
        retrieval_experiment_id=request.retrieval_experiment_id,
        retrieval_experiment_arm=request.retrieval_experiment_arm,
    )
    try:
        await scope.client.publish(body, minted=False)
    except AlreadyExists:
        done.outcomes[request.request_id] = "already_there"
        return
    except ReflexioError:
        done.outcomes[request.request_id] = "left"
        raise
    done.outcomes[request.request_id] = "restored"
    done.stored.append(request)
    done.turns_lost += len(item.interactions) - len(turns)


def _turn(stored: StoredInteraction) -> Interaction | None:
    # Without its image an interaction may have nothing left.
    texts = (stored.content, stored.user_action_description, stored.shadow_content, stored.expert_content)
    if not (any(text.strip() for text in texts) or stored.interacted_image_url or stored.tools_used):
        return None
    try:
        return Interaction.model_validate(
            {
                **stored.model_dump(exclude={"interaction_id", "user_id", "request_id"}),
                "tools_used": [_known(tool, ToolUse) for tool in stored.tools_used],
                "retrieved_learnings": [_known(one, RetrievedLearning) for one in stored.retrieved_learnings],
            }
        )
    except ValidationError:
        return None


def _known(item: dict[str, object], model: type[ToolUse] | type[RetrievedLearning]) -> dict[str, object]:
    return {name: value for name, value in item.items() if name in model.model_fields and value is not None}
