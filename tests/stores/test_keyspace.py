"""`memocache._stores.remote.keyspace`: the names of keys, letter by letter, for another version of memocache reads
them too."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memocache._stores.remote import keyspace as _layout
from memocache._stores.remote.keyspace import (
    BUCKETS,
    Layout,
    entry_rest,
    escape,
    function_marker,
    plain_rest,
    tag_hash,
    unescape,
)

PLAIN, CLUSTERED = Layout("shop"), Layout("shop", clustered=True)


def test_the_names_of_version_1() -> None:
    """Each kind of name is what was stored under it yesterday."""
    rest = entry_rest("app.price", "0123")
    assert rest == "app.price:0123"
    assert PLAIN.key("e", PLAIN.bucket(rest), rest) == "shop:e:app.price:0123"
    assert CLUSTERED.key("e", CLUSTERED.bucket(rest), rest) == "shop:e:{fb}:app.price:0123"
    assert (PLAIN.start("e"), CLUSTERED.start("g", "{0}:")) == ("shop:e:", "shop:g:{0}:")
    assert Layout("a:b%").start("e") == "a%3Ab%25:e:"
    assert Layout("a:b%").prefix == "a:b%"
    assert function_marker("app.f.<locals>.g:h/i") == "f:app.f.<locals>.g%3Ah%2Fi"
    assert entry_rest("f.<locals>.<lambda> é", "0") == "f.<locals>.<lambda>%20%C3%A9:0"


def test_the_buckets_of_version_1() -> None:
    """The buckets of a cluster stand in one order for all time: first, last, and a digest of all."""
    assert len(CLUSTERED.buckets) == BUCKETS == 256
    assert PLAIN.buckets == [""]
    assert CLUSTERED.buckets == Layout("other", clustered=True).buckets
    assert (CLUSTERED.buckets[0], CLUSTERED.buckets[255]) == ("{2b7}:", "{2ad}:")
    assert tag_hash("".join(CLUSTERED.buckets), b"") == "d150202e2c513dce6721bf2825fcb460"


def test_a_tag_stands_as_a_digest_under_the_secret() -> None:
    """The hash of a tag is that of yesterday, depends on the secret, and takes any str."""
    assert tag_hash("user:1", b"") == "6392d315ac81a4517a603b0175745b21"
    assert tag_hash("user:1", b"secret") == "79dac8fd866ca599a9ecd2d2e58ee642"
    assert len(tag_hash("\ud800", b"")) == 2 * _layout.TAG_HASH_BYTES == 32


@pytest.mark.parametrize("layout", [PLAIN, CLUSTERED], ids=["plain", "clustered"])
@settings(deadline=None)  # a busy machine
@given(rest=st.text())
def test_a_key_is_taken_apart_again(layout: Layout, rest: str) -> None:
    """`parse` gives back what `key` put together, whatever the rest holds."""
    bucket = layout.bucket(plain_rest(rest))
    assert bucket in layout.buckets
    assert layout.parse(layout.key("k", bucket, plain_rest(rest))) == ("k", bucket, plain_rest(rest))


@pytest.mark.parametrize(
    "key", ["", "shop", "shop:e", "shops:e:x", "shop:ee:x", "shop::x", "sho:e:x", "e:shop:x", "shop%3A:e:x"]
)
@pytest.mark.parametrize("layout", [PLAIN, CLUSTERED], ids=["plain", "clustered"])
def test_what_is_no_key_of_the_prefix(layout: Layout, key: str) -> None:
    """Anything else than prefix, one letter and a rest is no key of this cache."""
    assert layout.parse(key) is None


@pytest.mark.parametrize("key", ["shop:e:x", "shop:e:{fb:x", "shop:e:{fb}x", "shop:e:{nothing}:x", "shop:e:fb}:x"])
def test_in_a_cluster_a_key_has_one_of_the_buckets(key: str) -> None:
    """Without a bucket that the layout knows, a name is no key of a cluster's cache."""
    assert CLUSTERED.parse(key) is None
    assert PLAIN.parse(key) == ("e", "", key.removeprefix("shop:e:"))


@settings(deadline=None)
@given(st.text(st.characters()) | st.text("%<>:/ é\ud800", max_size=5))
def test_escapes_are_reversible_and_apart(text: str) -> None:
    """Any str comes back, lone surrogates too, and what is escaped for a name has no colon."""
    assert unescape(escape(text)) == text
    assert unescape(plain_rest(text)) == text
    assert ":" not in escape(text)


def test_the_key_of_a_plain_entry_reads_as_it_was_given() -> None:
    """Punctuation that needs no escape stands as it is; brackets, braces, spaces and percent signs do not."""
    assert plain_rest("a-b_c.d~<>:/@+=,;!$&'()|9") == "a-b_c.d~<>:/@+=,;!$&'()|9"
    assert plain_rest('[{ %*?"#\\^`') == "%5B%7B%20%25%2A%3F%22%23%5C%5E%60"


def test_a_bucket_depends_on_the_whole_rest() -> None:
    """Calls of one function are spread over the buckets."""
    found: set[Any] = {CLUSTERED.bucket(entry_rest("f", str(number))) for number in range(2000)}
    assert len(found) > 200


def test_a_bucket_that_does_not_end_is_none() -> None:
    """In a cluster a text that breaks off inside its bucket is no key, even where the bucket is one of ours."""
    layout = Layout("memo", clustered=True)
    bucket = layout.buckets[3]
    assert layout.parse(f"memo:e:{bucket}f:0") == ("e", bucket, "f:0")
    assert layout.parse(f"memo:e:{bucket.removesuffix('}:')}") is None
