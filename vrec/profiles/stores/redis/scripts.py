"""Lua scripts that the Redis server runs atomically.

Keys begin with a prefix P:
    P:log             hash of packed events by number; a stream would keep what is deleted from it
    P:number          the number of the last event
    P:ids             set of the 16-byte key of each event's id, also of erased events
    P:secret          the secret of these keys
    P:events:USER     list of the numbers of a user's events
    P:tail:user:ID    list of the events that the stored profile lacks, also P:tail:video:ID
    P:user:ID         the stored profile, also P:video:ID
    P:records:LOG     hash of the records of a log by number; P:records:LOG:last is the last one's
"""

APPLY = """
local p, most, new, long, reported = ARGV[1], tonumber(ARGV[2]), 0, {}, {}
local function add(kind, id, event)
  local length = redis.call('RPUSH', p .. ':tail:' .. kind .. ':' .. id, event)
  if length >= most and not reported[kind .. id] then
    reported[kind .. id] = true
    long[#long + 1] = kind
    long[#long + 1] = id
  end
end
for i = 3, #ARGV, 4 do
  local key, user, video, event = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('SADD', p .. ':ids', key) == 1 then
    local number = string.format('%d', redis.call('INCR', p .. ':number'))
    redis.call('HSET', p .. ':log', number, event)
    redis.call('RPUSH', p .. ':events:' .. user, number)
    add('user', user, event)
    add('video', video, event)
    new = new + 1
  end
end
return {new, long}
"""
"""Append the events that are new.

Arguments: prefix, length of a long tail, then key, user, video and packed event of each event.
Result: the number of new events, and kind and id of each user and video with a long tail.
"""

PUT = """
local stored, tail = KEYS[1], KEYS[2]
if redis.call('LINDEX', tail, 0) ~= ARGV[1] then return 0 end
redis.call('SET', stored, ARGV[2])
redis.call('LTRIM', tail, ARGV[3], -1)
return 1
"""
"""Store a profile, and remove the events that it contains from the tail.

Arguments: the tail's first event as read, the packed profile, and the number of events to remove.
Result: 1, or 0 if another process has stored or erased the profile meanwhile. Every event occurs once in a
tail, so if the first one is still the first, nobody has.
"""

ERASE = """
local events, stored, tail, log = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('LLEN', events) ~= tonumber(ARGV[1]) then return -1 end
local erased = 0
for _, number in ipairs(redis.call('LRANGE', events, 0, -1)) do
  erased = erased + redis.call('HDEL', log, number)
end
redis.call('DEL', events, stored, tail)
return erased
"""
"""Remove a user's events and profile.

Argument: the number of the user's events as read.
Result: the number of removed events, or -1 if another event has come meanwhile.
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
