"""Lua scripts that the Redis server runs atomically.

Keys begin with a prefix P::

    P:log             hash of packed events by number; a stream would keep what is deleted from it. A row
                      without event_id says that the profile of its video has changed
    P:number          the number of the last entry of the log
    P:ids             hash of the number by the 16-byte key of each event's id, also of erased events
    P:secret          the secret of these keys
    P:events:USER     list of the numbers of a user's events
    P:reversed:USER   set of the videos of which a user has events that reverse others
    P:tail:user:ID    list of the events that the stored profile lacks, also P:tail:video:ID; see `tails`
    P:user:ID         the stored profile, also P:video:ID
    P:records:LOG     hash of the records of a log by number; P:records:LOG:last is the last one's
    P:states:TABLE    hash of the states of a table by key; P:states:TABLE:versions is the sorted set of the
                      keys by version, P:states:TABLE:last the last version
    P:sessions        hash of the account by the user id of each session that joined one
    P:sessions:USER   set of the sessions that joined an account
"""

from vrec.core.schema import SESSION_PREFIX

_COMMON = f"""
local function owner_of(p, user)
  if string.sub(user, 1, {len(SESSION_PREFIX)}) ~= '{SESSION_PREFIX}' then return user end
  return redis.call('HGET', p .. ':sessions', user) or user
end
local function rebuild(p, user, marker)
  local tail = p .. ':tail:user:' .. user
  redis.call('DEL', p .. ':user:' .. user, tail)
  local numbers = redis.call('LRANGE', p .. ':events:' .. user, 0, -1)
  if #numbers > 0 then redis.call('RPUSH', tail, marker) end
  for _, number in ipairs(numbers) do
    redis.call('RPUSH', tail, redis.call('HGET', p .. ':log', number))
  end
end
local function note(p, row)
  redis.call('HSET', p .. ':log', string.format('%d', redis.call('INCR', p .. ':number')), row)
end
"""
"""Functions: the user whose event a user's is; a profile made of all events again, whose tail begins with a
marker; and a new entry of the log."""

APPLY = (
    _COMMON
    + """
local p, most, marker, new, long, reported = ARGV[1], tonumber(ARGV[2]), ARGV[3], {}, {}, {}
local guards, corrections, place = tonumber(ARGV[4]), tonumber(ARGV[5]), 6
for i = 1, guards do
  local sent, owner, length = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2])
  if owner_of(p, sent) ~= owner or redis.call('LLEN', p .. ':events:' .. owner) ~= length then return {-1} end
  place = place + 3
end
local first = place + 2 * corrections
if guards == 0 then
  for i = first, #ARGV, 5 do
    local key, user, video, pairing = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    if pairing ~= '' and redis.call('HEXISTS', p .. ':ids', key) == 0 then
      local reversed = p .. ':reversed:' .. owner_of(p, user)
      if pairing == 'reverses' or redis.call('SISMEMBER', reversed, video) == 1 then return {-1} end
    end
  end
end
local function add(kind, id, event)
  local length = redis.call('RPUSH', p .. ':tail:' .. kind .. ':' .. id, event)
  if length >= most and not reported[kind .. id] then
    reported[kind .. id] = true
    long[#long + 1] = kind
    long[#long + 1] = id
  end
end
local reset = {}
for i = first, #ARGV, 5 do
  local key, user, video, pairing, event = unpack(ARGV, i, i + 4)
  if redis.call('HEXISTS', p .. ':ids', key) == 0 then
    local number = string.format('%d', redis.call('INCR', p .. ':number'))
    redis.call('HSET', p .. ':ids', key, number)
    redis.call('HSET', p .. ':log', number, event)
    local owner = owner_of(p, user)
    redis.call('RPUSH', p .. ':events:' .. owner, number)
    add('user', owner, event)
    add('video', video, event)
    if pairing == 'reverses' then redis.call('SADD', p .. ':reversed:' .. owner, video) end
    if guards > 0 and pairing ~= '' then reset[owner] = true end
    new[#new + 1] = (i - first) / 5
  end
end
for i = place, first - 1, 2 do add('video', ARGV[i], ARGV[i + 1]) end
for owner, _ in pairs(reset) do rebuild(p, owner, marker) end
return {0, long, new}
"""
)
"""Append the events that are new.

Arguments: prefix, length of a long tail, marker, numbers of guards and corrections, then user as sent, owner
and number of the owner's events of each guard, video and entry of each correction, and key, user, video,
pairing (`reverses`, `reversible` or nothing) and packed event of each event.
Result: the number of new events, and kind and id of each user and video with a long tail. Or −1 and nothing
is done: without guards if an event reverses others or may be reversed, so that corrections are needed; with
guards if they do not hold, as other events have come meanwhile.
"""

REMOVE = (
    _COMMON
    + """
local p, marker, sent, owner, length, number, video, event, row = unpack(ARGV, 1, 9)
if owner_of(p, sent) ~= owner then return 0 end
if redis.call('LLEN', p .. ':events:' .. owner) ~= tonumber(length) then return 0 end
if redis.call('HGET', p .. ':log', number) ~= event then return 0 end
local tail = p .. ':tail:video:' .. video
for _, one in ipairs(redis.call('LRANGE', tail, 0, -1)) do if one == event then return 0 end end
redis.call('LREM', p .. ':events:' .. owner, 1, number)
redis.call('HDEL', p .. ':log', number)
for i = 10, #ARGV do redis.call('RPUSH', tail, ARGV[i]) end
note(p, row)
rebuild(p, owner, marker)
return 1
"""
)
"""Remove an event.

Arguments: prefix, marker, user as sent, owner, number of the owner's events as read, the event's number,
video and packed form, the log's entry about the change, and the corrections of the video.
Result: 1, or 0 if anything has changed since, or the stored profile of the video lacks the event.
"""

JOIN = (
    _COMMON
    + """
local p, marker, session, user, n, m = unpack(ARGV, 1, 6)
local from, to = p .. ':events:' .. session, p .. ':events:' .. user
if redis.call('HEXISTS', p .. ':sessions', session) == 1 then return -1 end
if redis.call('LLEN', from) ~= tonumber(n) or redis.call('LLEN', to) ~= tonumber(m) then return -1 end
for _, number in ipairs(redis.call('LRANGE', from, 0, -1)) do redis.call('RPUSH', to, number) end
local reversed = p .. ':reversed:'
redis.call('SUNIONSTORE', reversed .. user, reversed .. user, reversed .. session)
redis.call('DEL', from, p .. ':user:' .. session, p .. ':tail:user:' .. session, reversed .. session)
redis.call('HSET', p .. ':sessions', session, user)
redis.call('SADD', p .. ':sessions:' .. user, session)
for i = 7, #ARGV, 3 do
  redis.call('RPUSH', p .. ':tail:video:' .. ARGV[i], ARGV[i + 1])
  note(p, ARGV[i + 2])
end
rebuild(p, user, marker)
return tonumber(n)
"""
)
"""Make a session's events a user's.

Arguments: prefix, marker, session, user, the numbers of their events as read, then video, correction and the
log's entry of each correction.
Result: the number of events, or −1 if anything has changed since.
"""

RENAME = (
    _COMMON
    + """
local p, marker, user, sent, to, n, m, rows = unpack(ARGV, 1, 8)
local from, dest = p .. ':events:' .. user, p .. ':events:' .. to
if owner_of(p, user) ~= user or owner_of(p, sent) ~= to then return -1 end
if redis.call('LLEN', from) ~= tonumber(n) or redis.call('LLEN', dest) ~= tonumber(m) then return -1 end
local place = 9
for _ = 1, tonumber(rows) do
  redis.call('HSET', p .. ':log', ARGV[place], ARGV[place + 1])
  place = place + 2
end
for _, number in ipairs(redis.call('LRANGE', from, 0, -1)) do redis.call('RPUSH', dest, number) end
local reversed, sessions = p .. ':reversed:', p .. ':sessions:'
redis.call('SUNIONSTORE', reversed .. to, reversed .. to, reversed .. user)
for _, session in ipairs(redis.call('SMEMBERS', sessions .. user)) do
  redis.call('HSET', p .. ':sessions', session, to)
  redis.call('SADD', sessions .. to, session)
end
redis.call('DEL', from, p .. ':user:' .. user, p .. ':tail:user:' .. user, reversed .. user, sessions .. user)
for i = place, #ARGV, 3 do
  redis.call('RPUSH', p .. ':tail:video:' .. ARGV[i], ARGV[i + 1])
  note(p, ARGV[i + 2])
end
rebuild(p, to, marker)
return tonumber(n)
"""
)
"""Make a user's events and joined sessions another one's.

Arguments: prefix, marker, user, new id, the user whose the events of the new id are, the numbers of events of
both as read, the number of rows that have the old id, their numbers and new forms, then video, correction and
the log's entry of each correction.
Result: the number of events, or −1 if anything has changed since.
"""

RENAME_SESSION = (
    _COMMON
    + """
local p, marker, session, new, owner, n = unpack(ARGV, 1, 6)
if redis.call('HGET', p .. ':sessions', session) ~= owner then return -1 end
if redis.call('LLEN', p .. ':events:' .. owner) ~= tonumber(n) then return -1 end
for i = 7, #ARGV, 2 do redis.call('HSET', p .. ':log', ARGV[i], ARGV[i + 1]) end
redis.call('HDEL', p .. ':sessions', session)
redis.call('SREM', p .. ':sessions:' .. owner, session)
if new ~= owner and redis.call('HSETNX', p .. ':sessions', new, owner) == 1 then
  redis.call('SADD', p .. ':sessions:' .. owner, new)
end
rebuild(p, owner, marker)
return 0
"""
)
"""Give a session that has joined an account another id.

Arguments: prefix, marker, session, new id or the account, account, number of the account's events as read,
then the numbers of the rows that the session sent and their new forms.
Result: 0, or −1 if anything has changed since.
"""

PUT = """
local stored, tail = KEYS[1], KEYS[2]
if redis.call('LINDEX', tail, 0) ~= ARGV[1] then return 0 end
redis.call('SET', stored, ARGV[2])
redis.call('LTRIM', tail, ARGV[3], -1)
return 1
"""
"""Store a profile, and remove the entries that it contains from the tail.

Arguments: the tail's first entry as read, the packed profile, and the number of entries to remove.
Result: 1, or 0 if another process has stored, erased or changed the profile meanwhile. Every entry occurs
once in a tail, so if the first one is still the first, nobody has.
"""

ERASE = """
local p, user = ARGV[1], ARGV[2]
local events = p .. ':events:' .. user
if redis.call('LLEN', events) ~= tonumber(ARGV[3]) then return -1 end
local erased = 0
for _, number in ipairs(redis.call('LRANGE', events, 0, -1)) do
  erased = erased + redis.call('HDEL', p .. ':log', number)
end
for _, session in ipairs(redis.call('SMEMBERS', p .. ':sessions:' .. user)) do
  redis.call('HDEL', p .. ':sessions', session)
end
for _, kind in ipairs({':user:', ':tail:user:', ':reversed:', ':sessions:'}) do
  redis.call('DEL', p .. kind .. user)
end
redis.call('DEL', events)
return erased
"""
"""Remove a user's events, sessions and profile.

Arguments: prefix, user, and the number of the user's events as read.
Result: the number of removed events, or -1 if another event has come meanwhile.
"""

EXPIRE = (
    _COMMON
    + """
local p, marker, user, owner = unpack(ARGV, 1, 4)
if owner_of(p, user) ~= owner then return 0 end
local seen, pending, removed = {}, {}, 0
for i = 5, #ARGV, 2 do
  local tail, row = p .. ':tail:video:' .. ARGV[i + 1], redis.call('HGET', p .. ':log', ARGV[i])
  if not seen[tail] then
    seen[tail] = true
    for _, one in ipairs(redis.call('LRANGE', tail, 0, -1)) do pending[one] = true end
  end
  if row and not pending[row] then
    redis.call('LREM', p .. ':events:' .. owner, 1, ARGV[i])
    removed = removed + redis.call('HDEL', p .. ':log', ARGV[i])
  end
end
if removed > 0 then rebuild(p, owner, marker) end
return removed
"""
)
"""Remove events of a user that are too old.

Arguments: prefix, marker, user as sent, owner, then the number and video of each event.
Result: the number of removed events. None is if the events are another user's by now; one that the stored
profile of its video lacks stays.
"""

APPEND_RECORD = """
local records, record = KEYS[1], ARGV[1]
local last, expected, most = tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[2]), tonumber(ARGV[3])
if last > 0 and redis.call('HGET', records, string.format('%d', last)) == record then return last end
if expected >= 0 and expected ~= last then return 0 end
last = last + 1
redis.call('HSET', records, string.format('%d', last), record)
redis.call('SET', KEYS[2], string.format('%d', last))
if most > 0 then redis.call('HDEL', records, string.format('%d', last - most)) end
return last
"""
"""Append a record to a log, and remove the oldest one if there are too many.

Arguments: the record, the number that the last one must have or -1, and the maximum of records or 0.
Result: the number of the record, or 0 if the last one has another number. A record that is the last one
already was sent again after a broken connection, and is not added twice.
"""

PUT_STATE = """
local states, versions, key, state, expected = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3])
local version = tonumber(redis.call('ZSCORE', versions, key) or '0')
if version > 0 and redis.call('HGET', states, key) == state then return version end
if expected >= 0 and expected ~= version then return 0 end
version = redis.call('INCR', KEYS[3])
redis.call('HSET', states, key, state)
redis.call('ZADD', versions, string.format('%d', version), key)
return version
"""
"""Put the state of a key.

Arguments: key, state, and the version that the present state must have or -1.
Result: the version of the state, or 0 if the present one has another version. The state that the key has
already was sent again after a broken connection, or says nothing new: it is not put again.
"""

DROP_STATE = """
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0') ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
"""
"""Remove the state of a key. Arguments: key and version. Result: 1, or 0 if it has another version."""

GET_STATES = """
local found = {}
for _, key in ipairs(ARGV) do
  local state = redis.call('HGET', KEYS[1], key)
  if state then
    for _, one in ipairs({redis.call('ZSCORE', KEYS[2], key), key, state}) do found[#found + 1] = one end
  end
end
return found
"""
"""Return version, key and state of each of the keys that has one. Arguments: the keys."""

NEXT_STATES = """
local found = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])) do
  local version, state = redis.call('ZSCORE', KEYS[2], key), redis.call('HGET', KEYS[1], key)
  for _, one in ipairs({version, key, state}) do found[#found + 1] = one end
end
return found
"""
"""Return version, key and state of the next states. Arguments: version above which they are, and how many."""
