"""What the Redis store has the server do in one step, in Lua: each script is all or nothing.

Keys begin with a prefix P:
    P:log             stream, one entry an event: number-0, field "e"
    P:number          the number of the last event
    P:ids             set of the 16 bytes that stand for each event's id, also of erased ones
    P:events:USER     list of the numbers of a user's events
    P:tail:user:ID    list of the events that the stored profile lacks, also P:tail:video:ID
    P:user:ID         the stored profile, also P:video:ID
"""

APPLY = """
local p, most, new, long, told = ARGV[1], tonumber(ARGV[2]), 0, {}, {}
local function add(kind, id, event)
  local length = redis.call('RPUSH', p .. ':tail:' .. kind .. ':' .. id, event)
  if length >= most and not told[kind .. id] then
    told[kind .. id] = true
    long[#long + 1] = kind
    long[#long + 1] = id
  end
end
for i = 3, #ARGV, 4 do
  local key, user, video, event = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('SADD', p .. ':ids', key) == 1 then
    local number = string.format('%d-0', redis.call('INCR', p .. ':number'))
    redis.call('XADD', p .. ':log', number, 'e', event)
    redis.call('RPUSH', p .. ':events:' .. user, number)
    add('user', user, event)
    add('video', video, event)
    new = new + 1
  end
end
return {new, long}
"""
"""Appends those events that are new: prefix, the length of a long tail, then key, user, video and event of
each. Returns how many were new, and kind and id of those whose tails are long."""

PUT = """
local stored, tail = KEYS[1], KEYS[2]
if redis.call('LINDEX', tail, 0) ~= ARGV[1] then return 0 end
redis.call('SET', stored, ARGV[2])
redis.call('LTRIM', tail, ARGV[3], -1)
return 1
"""
"""Stores a profile, and takes off the tail the events that are in it: the tail's first event as it was read,
the profile, and how many events. An event comes once for ever, so where the first is still the first, nobody
has stored the profile or erased it meanwhile. Returns 0 where somebody has."""

ERASE = """
local events, stored, tail, log = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('LLEN', events) ~= tonumber(ARGV[1]) then return -1 end
local erased = 0
for _, number in ipairs(redis.call('LRANGE', events, 0, -1)) do
  erased = erased + redis.call('XDEL', log, number)
end
redis.call('DEL', events, stored, tail)
return erased
"""
"""Removes a user's events and profile. Returns how many events, or -1 where one came that was not counted."""
