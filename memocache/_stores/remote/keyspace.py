"""The names of memocache's keys in a backend, layout version 1.

``prefix:kind:{bucket}:rest``; outside a cluster there is no bucket and no colon for it. A kind's letter belongs to the
layout version: another layout takes other letters, so that two versions never read each other's keys.

=====  ======================================================================  ==================
kind   rest                                                                    value
=====  ======================================================================  ==================
``e``  ``name:digest``: the entry of one call                                  envelope
``k``  the escaped key of ``Cache.set``                                        envelope
``w``  as the entry: the witness, which a store must find unchanged            token
``l``  as the entry: the lease, present while someone computes                 token + generations
``g``  ``p`` (prefix), ``f:name`` (function), ``t:hash`` (tag): the markers    8 random bytes
``r``  ``names``, ``tags``: the registries                                     set
``s``  statistics, and the numbers of the last flushes                         counters, number
``c``  as the entry: the channel that wakes waiters (no key)
``n``  ``database``: the name of the database, where ``local=`` watches it     text
=====  ======================================================================  ==================

Prefix and name are percent-escaped, so that the colons that separate fields are the only ones and prefixes are apart
even if one begins with another.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import quote, unquote
from zlib import crc32

BUCKETS = 256
TAG_HASH_BYTES = 16
_TAG_PERSON = b"memocache-tags-1"
_SAFE_NAME = "<>"
_SAFE_KEY = "<>:/@+=,;!$&'()|~"
_is_plain = re.compile(r"[\w.\-<>:/@+=,;!$&'()|~]*", re.ASCII).fullmatch


def escape(text: str, safe: str = _SAFE_NAME) -> str:
    """Percent-escape everything but letters, digits, ``_.-~`` and `safe`; reversible by `unescape`."""
    return quote(text, safe=safe, errors="surrogatepass")


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return unquote(text, errors="surrogatepass")


class Layout:
    """Key names of one prefix, in one bucket or in the buckets of a cluster."""

    __slots__ = ("_start", "buckets", "prefix")

    def __init__(self, prefix: str, *, clustered: bool = False) -> None:
        self.prefix = prefix
        self._start = escape(prefix)
        self.buckets = [f"{{{tag}}}:" for tag in _bucket_tags()] if clustered else [""]

    def bucket(self, rest: str) -> str:
        """The bucket (with its trailing colon) in which the entry `rest` and all that belongs to it live."""
        if len(self.buckets) == 1:
            return self.buckets[0]
        return self.buckets[crc32(rest.encode()) % len(self.buckets)]

    def key(self, kind: str, bucket: str, rest: str) -> str:
        """The full name of a key."""
        return f"{self._start}:{kind}:{bucket}{rest}"

    def start(self, kind: str, bucket: str = "") -> str:
        """What every key of a kind (and bucket) begins with."""
        return f"{self._start}:{kind}:{bucket}"

    def parse(self, key: str) -> tuple[str, str, str] | None:
        """Take apart a key of this prefix: (kind, bucket, rest); None for anything else."""
        start, _, after = key.partition(":")
        kind, colon, rest = after.partition(":")
        if start != self._start or not colon or len(kind) != 1:
            return None
        bucket = ""
        if len(self.buckets) > 1:
            tag, brace, rest = rest.partition("}:")
            bucket = f"{tag}}}:"
            if not brace or bucket not in self.buckets:
                return None
        return kind, bucket, rest


def entry_rest(name: str, digest: str) -> str:
    """The last part of an entry's key."""
    return f"{_escaped(name)}:{digest}"


@lru_cache(1024)  # in a cluster every call asks for the bucket, which is that of the whole rest
def _escaped(name: str) -> str:
    return escape(name)


def plain_rest(key: str) -> str:
    """The last part of the key of a plain key-value entry; any str has one, and only one."""
    return key if _is_plain(key) else escape(key, _SAFE_KEY)


def function_marker(name: str) -> str:
    """The last part of the key of a function's marker."""
    return f"f:{escape(name)}"


def tag_hash(tag: str, secret: bytes) -> str:
    """What stands for a rendered tag in keys: tags may hold argument text, keys may not. A MAC under a `secret`."""
    text = tag.encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=TAG_HASH_BYTES, key=secret, person=_TAG_PERSON).hexdigest()


class Site:
    """The backend's names of everything that belongs to one function (name "" for plain keys), in one bucket."""

    __slots__ = ("_layout", "bucket", "entries", "kind", "markers", "members", "standing", "starts")

    def __init__(self, layout: Layout, name: str, bucket: str) -> None:
        self._layout = layout
        self.bucket = bucket
        self.kind = "e" if name else "k"
        # what comes before the digest (or the escaped plain key): of entries, and of what goes with them, by kind
        rest = entry_rest(name, "") if name else ""
        self.entries = layout.key(self.kind, bucket, rest)
        self.starts = {kind: layout.key(kind, bucket, self.kind + rest) for kind in "wlc"}
        self.markers = [layout.key("g", bucket, "p")]
        if name:
            self.markers.append(layout.key("g", bucket, function_marker(name)))
        self.members = [(layout.key("r", bucket, "names"), name)] if name else []
        self.standing: list[bytes | None] | None = None
        """The markers as a write of this process knew them last."""

    def tag_marker(self, tag: str) -> str:
        """The marker of a tag's hash."""
        return self._layout.key("g", self.bucket, f"t:{tag}")


class Spot:
    """The backend's names of one address."""

    __slots__ = ("_last", "entry", "key", "markers", "site")

    def __init__(self, site: Site, last: str, tags: tuple[str, ...]) -> None:
        self.site = site
        self._last = last
        self.entry = site.entries + last
        self.key = self.entry.encode()
        self.markers = site.markers if not tags else [*site.markers, *map(site.tag_marker, tags)]

    @property
    def bucket(self) -> str:
        """The bucket that all of these keys are in."""
        return self.site.bucket

    @property
    def members(self) -> list[tuple[str, str]]:
        """What to add to the registry of names."""
        return self.site.members

    @property
    def witness(self) -> str:
        """The key of the witness."""
        return self.site.starts["w"] + self._last

    @property
    def lease(self) -> str:
        """The key of the lease."""
        return self.site.starts["l"] + self._last

    @property
    def channel(self) -> str:
        """The channel that wakes waiters."""
        return self.site.starts["c"] + self._last


def _bucket_tags() -> list[str]:
    """256 hash tags, one for each 64 of the 16,384 slots, the same for all time: the first number whose slot falls
    there.
    """
    from binascii import crc_hqx  # CRC16/XMODEM, the cluster's slot function

    found: dict[int, str] = {}
    number = 0
    while len(found) < BUCKETS:
        tag = format(number, "x")
        found.setdefault(crc_hqx(tag.encode(), 0) % 16384 // 64, tag)
        number += 1
    return [found[index] for index in range(BUCKETS)]
