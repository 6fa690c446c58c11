"""The two Lua scripts of the Redis backends: compare, then write (TRANSACT), and count once (TALLY), in one step each.

`memocache.backends._redis.commands` packs their arguments and has another way where scripts are refused.

TRANSACT:

KEYS are guards, puts, deletes and member sets, in this order. ARGV begins with how many there are of each and the
channels to publish on (one a line, empty for none); then one string per guard (``a`` absent, ``h`` and the head), two
per put (value, milliseconds or empty) and one per member. It returns 1, or the guards' values if one of them did not
hold.

A value of a foreign type at one of our keys counts as absent and is overwritten, so that it heals. Puts come before
deletes: when memory is short the first put fails and nothing has been applied. A publish refused by ACL is ignored,
for the writes are done and listeners poll as well.

TALLY: KEYS are the one that remembers the last number and the hashes. ARGV begins with the number and the milliseconds
to remember it; then, for each hash, how many amounts to add, how many to set and its life in milliseconds (empty for
none), and name and amount of each. It returns 1, or 0 if the number, or a higher one, was remembered. The number is
remembered first: what fails half-way is not counted again.
"""

from __future__ import annotations

import hashlib

TRANSACT = b"""\
local guards, puts, dels, members = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for i = 1, guards do
  local key, want = KEYS[i], ARGV[5 + i]
  local held
  if want == 'a' then
    held = redis.call('TYPE', key).ok ~= 'string'
  elseif want == 'h' then
    held = redis.call('TYPE', key).ok == 'string'
  else
    held = redis.pcall('GETRANGE', key, 0, #want - 2) == string.sub(want, 2)
  end
  if not held then
    local found = {}
    for j = 1, guards do
      local value = redis.pcall('GET', KEYS[j])
      found[j] = type(value) == 'string' and value or false
    end
    return found
  end
end
local k, a = guards, 5 + guards
for i = 1, puts do
  local ttl = ARGV[a + 2 * i]
  if ttl == '' then
    redis.call('SET', KEYS[k + i], ARGV[a + 2 * i - 1])
  else
    redis.call('SET', KEYS[k + i], ARGV[a + 2 * i - 1], 'PX', ttl)
  end
end
k, a = k + puts, a + 2 * puts
for i = 1, dels do
  redis.call('UNLINK', KEYS[k + i])
end
k = k + dels
for i = 1, members do
  local added = redis.pcall('SADD', KEYS[k + i], ARGV[a + i])
  if type(added) == 'table' and added.err then
    redis.call('UNLINK', KEYS[k + i])
    redis.call('SADD', KEYS[k + i], ARGV[a + i])
  end
end
for channel in string.gmatch(ARGV[5], '[^\\n]+') do
  redis.pcall('PUBLISH', channel, '')
end
return 1
"""

TRANSACT_SHA = hashlib.sha1(TRANSACT, usedforsecurity=False).hexdigest()

TRANSACT_SHARDED = TRANSACT.replace(b"'PUBLISH'", b"'SPUBLISH'")
"""In a cluster: the message stays within the shard that holds the keys."""

TRANSACT_SHARDED_SHA = hashlib.sha1(TRANSACT_SHARDED, usedforsecurity=False).hexdigest()

TALLY = b"""\
local done = redis.pcall('GET', KEYS[1])
if type(done) == 'string' and tonumber(done) and tonumber(done) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local a = 3
for i = 2, #KEYS do
  local key, adds, sets, ttl = KEYS[i], tonumber(ARGV[a]), tonumber(ARGV[a + 1]), ARGV[a + 2]
  if adds == 0 and redis.call('TYPE', key).ok ~= 'hash' then
    redis.call('UNLINK', key)
  end
  a = a + 3
  for j = 1, adds do
    local reply = redis.pcall('HINCRBY', key, ARGV[a], ARGV[a + 1])
    if type(reply) == 'table' and reply.err and string.find(reply.err, 'WRONGTYPE', 1, true) then
      redis.call('UNLINK', key)
      redis.call('HINCRBY', key, ARGV[a], ARGV[a + 1])
    end
    a = a + 2
  end
  for j = 1, sets do
    redis.call('HSET', key, ARGV[a], ARGV[a + 1])
    a = a + 2
  end
  if ttl ~= '' then
    redis.call('PEXPIRE', key, ttl)
  end
end
return 1
"""

TALLY_SHA = hashlib.sha1(TALLY, usedforsecurity=False).hexdigest()
