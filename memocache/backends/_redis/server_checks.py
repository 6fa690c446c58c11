"""What a Redis or Valkey server's own figures say about its fitness as a cache.

Pure functions from INFO, CONFIG, ACL WHOAMI and TIME to findings with advice; `Commands.checkup` asks the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memocache._runtime.humanize import amount, size
from memocache.typing import Finding

_LOOPBACK = ("localhost", "127.", "::1")
_CLOCK_SECONDS = 1.0
_TRACKING_SINCE = 6
_LEVELS = ("ok", "note", "warn", "fail")


def findings(
    info: Mapping[str, str],
    config: Mapping[str, str] | None,
    whoami: str | None,
    ahead: float | None,
    settings: Any,
) -> list[Finding]:
    """Judge the fields of INFO and CONFIG (None: refused), the user's name, and how many seconds the server's clock is
    ahead of ours.
    """
    return [
        _version(info),
        *_role(info),
        *_memory(info, config),
        *_clients(info),
        _transport(settings),
        _user(whoami),
        *_clock(ahead),
    ]


def slots(primaries: int, unheld: int) -> Finding:
    """Judge how a cluster's slots are held, by how many primaries."""
    if unheld:
        advice = "keys of these slots are not cached: bring their nodes back, or `redis-cli --cluster fix`"
        return Finding("fail", "slots", f"{unheld} are held by no node", advice)
    return Finding("ok", "slots", f"all held, by {amount(primaries, 'primary', 'primaries')}", "")


def worst(nodes: Mapping[str, Sequence[Finding]]) -> list[Finding]:
    """Of each thing found at the nodes of a cluster, the worst; it names the first node that is so badly off, where
    they do not all say the same.
    """
    things: dict[str, list[tuple[str, Finding]]] = {}
    for node, some in nodes.items():
        for finding in some:
            things.setdefault(finding.what, []).append((node, finding))
    chosen = []
    for those in things.values():
        node, finding = max(those, key=lambda one: _LEVELS.index(one[1].level))  # the first of the worst
        if len({one for _, one in those}) > 1:
            finding = finding._replace(found=f"{finding.found} at {node}")
        chosen.append(finding)
    return chosen


def _version(info: Mapping[str, str]) -> Finding:
    name = "valkey" if "valkey_version" in info else "redis"
    version = info.get(f"{name}_version", "unknown")
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < _TRACKING_SINCE:
        return Finding(
            "warn", "server", f"{name} {version}", "before 6 it has no ACL and cannot tell local= of changes"
        )
    return Finding("ok", "server", f"{name} {version}", "")


def _role(info: Mapping[str, str]) -> list[Finding]:
    role = info.get("role")
    if role is None:
        return []
    if role != "master":
        return [Finding("fail", "role", "a replica: it refuses every write", "use the primary's address, or Sentinel")]
    replicas = _number(info.get("connected_slaves", ""))
    return [Finding("ok", "role", f"primary with {amount(replicas, 'replica')}", "")]


def _memory(info: Mapping[str, str], config: Mapping[str, str] | None) -> list[Finding]:
    settings = config if config is not None else info  # INFO has both names too
    bound, policy = (
        settings.get("maxmemory", ""),
        settings.get("maxmemory-policy", settings.get("maxmemory_policy", "")),
    )
    if not bound.isdigit():
        return [Finding("note", "memory", "its bound cannot be read", "allow CONFIG GET or INFO for this check")]
    said = info.get("used_memory", "")
    used = size(int(said)) if said.isdigit() else "an unknown amount"
    evicted = _number(info.get("evicted_keys", ""))
    if int(bound) == 0:
        found = f"{used} used, without bound"
        return [Finding("warn", "memory", found, "set maxmemory, and maxmemory-policy allkeys-lfu or allkeys-lru")]
    found = f"{used} of {size(int(bound))} used, {policy}, {amount(evicted, 'key')} evicted"
    if policy == "noeviction":
        advice = "when it is full nothing more is stored: set maxmemory-policy to allkeys-lfu or allkeys-lru"
        return [Finding("warn", "memory", found, advice)]
    return [Finding("ok", "memory", found, "")]


def _clients(info: Mapping[str, str]) -> list[Finding]:
    now, most = info.get("connected_clients", ""), info.get("maxclients", "")
    if not now.isdigit():
        return []
    found = f"{int(now):,} connected" + (f" of {int(most):,}" if most.isdigit() else "")
    if most.isdigit() and int(now) > 0.8 * int(most):
        return [Finding("warn", "clients", found, "raise maxclients, or lower max_connections= in the URLs")]
    return [Finding("ok", "clients", found, "")]


def _transport(settings: Any) -> Finding:
    if settings.tls:
        unverified = ("ssl_cert_reqs", "none") in settings.tls_options
        if settings.tls_context is not None:
            unverified = settings.tls_context.verify_mode.name == "CERT_NONE"
        if not unverified:
            return Finding("ok", "transport", "TLS, the certificate is verified", "")
        return Finding(
            "warn", "transport", "TLS without verification", "anybody on the way can be the server: verify it"
        )
    if settings.path is not None or settings.host.startswith(_LOOPBACK):
        return Finding("ok", "transport", "on this machine", "")
    return Finding("warn", "transport", "plain text over the network", "use rediss:// where others share the network")


def _user(whoami: str | None) -> Finding:
    if whoami is None:
        return Finding("note", "user", "cannot be read", "")
    if whoami == "default":
        advice = "a user of its own, limited to the prefix, keeps others' mistakes out: see docs/security.md"
        return Finding("note", "user", "default", advice)
    return Finding("ok", "user", whoami, "")


def _number(said: str) -> int:
    return int(said) if said.isdigit() else 0


def _clock(ahead: float | None) -> list[Finding]:
    if ahead is None:
        return []
    found = f"{ahead:+.3f} s from ours"
    if abs(ahead) > _CLOCK_SECONDS:
        advice = "each process judges expiry by its own clock: run NTP, or entries live longer or shorter by this"
        return [Finding("warn", "clock", found, advice)]
    return [Finding("ok", "clock", found, "")]
