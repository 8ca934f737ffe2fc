from reflexio_mcp.render.blocks import Told, lines, sentence
from reflexio_mcp.render.deletion import logged, past
from reflexio_mcp.render.words import Words, named_in_fence
from reflexio_mcp.results.status import Backend, Limits, Policy, Status

__all__ = ["status"]


def status(found: Status, words: Words) -> Told:
    return Told(
        stored=[
            f"scope: {found.scope}",
            *_policy_names(found.policy),
            *named_in_fence(found.facts),
            "last deletions:" if found.deletions else "",
            *past(found.deletions, words),
            "exports, refusals and what holds kept:" if found.logged else "",
            *logged(found.logged),
        ],
        values=lines(
            f"reflexio-mcp {found.version}",
            _backend(found.backend),
            _policy(found.policy),
            _limits(found.limits),
        ),
        then=words.say(found.facts),
    )


def _backend(backend: Backend) -> str:
    known = [
        f"{backend.kind} at {backend.where}" if backend.where else backend.kind,
        f"organization {backend.organization}" if backend.organization else "",
        f"storage {backend.storage}" if backend.storage else "",
    ]
    state = "reachable" if backend.reachable else "NOT reachable"
    return f"backend: {', '.join(filter(None, known))}; {state}"


def _policy(policy: Policy) -> str:
    if policy.read_only:
        decided = ["read-only: nothing can be stored or deleted here"]
    else:
        cap = (
            f"at most {policy.delete_cap:,} items deleted an hour"
            if policy.delete_cap
            else "no cap on deletions"
        )
        decided = [
            f"confirm {policy.confirm}",
            cap,
            f"secrets in what is published: {policy.publish_secrets}",
        ]
    if policy.masked:
        decided.append("stored content is hidden")
    if policy.shared_state:
        decided.append(f"state in {policy.shared_state}")
    return sentence(f"policy: {'; '.join(decided)}.", policy.policy_problem)


def _policy_names(policy: Policy) -> list[str]:
    """What the operator wrote, which is shown in the fence."""
    held = [f"kept by a hold: {hold}" for hold in policy.holds]
    return [*held, *(f"expires: {rule}" for rule in policy.expires)]


def _limits(limits: Limits) -> str:
    return (
        f"limits: {limits.call_seconds:g} seconds a call, {limits.publish_wait_seconds:g} seconds a waiting publish, "
        f"{limits.interactions_per_publish:,} interactions a publish, {limits.ids_per_deletion:,} ids a deletion"
    )
