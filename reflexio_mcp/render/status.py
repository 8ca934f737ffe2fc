from reflexio_mcp.render.blocks import lines, sentence
from reflexio_mcp.render.deletion import past
from reflexio_mcp.results.base import quoting
from reflexio_mcp.results.status import Backend, Limits, Policy, Status

__all__ = ["status"]


def status(found: Status) -> str:
    return lines(
        f"reflexio-mcp {found.version}",
        _backend(found.backend),
        f"scope: {found.scope}",
        _policy(found.policy),
        _limits(found.limits),
        f"last deletions:\n{past(found.deletions)}" if found.deletions else "",
        found.problem,
    )


def _backend(backend: Backend) -> str:
    known = [
        f"{backend.kind} at {backend.where}" if backend.where else backend.kind,
        f"organization {backend.organization}" if backend.organization else "",
        f"storage {backend.storage}" if backend.storage else "",
    ]
    state = "reachable" if backend.reachable else f"NOT reachable: {backend.problem}"
    return lines(
        quoting(f"backend: {', '.join(filter(None, known))}; {state}", backend.said), backend.deletes
    )


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
            f"confirm {policy.confirm}: {policy.confirm_means}",
            cap,
            f"secrets in what is published: {policy.publish_secrets}",
        ]
    decided += ["stored content is hidden"] if policy.masked else []
    decided += [f"state in {policy.shared_state}"] if policy.shared_state else []
    decided += [f"kept by a hold: {one}" for one in policy.holds]
    decided += [f"expires: {one}" for one in policy.expires]
    missing = policy.secrets_not_looked_for
    return sentence(
        f"policy: {'; '.join(decided)}.",
        policy.holds_set,
        policy.undo,
        policy.policy_problem,
        f"Secrets: {missing}." if missing else "",
    )


def _limits(limits: Limits) -> str:
    return (
        f"limits: {limits.call_seconds:g} seconds a call, {limits.publish_wait_seconds:g} seconds a waiting publish, "
        f"{limits.interactions_per_publish:,} interactions a publish, {limits.ids_per_deletion:,} ids a deletion"
    )
