"""The Lua calls that keep transcripts in Redis: every change is one, and so atomic."""

from __future__ import annotations

from bot.state.redis_script import Script

# Times come from the replicas, as they do in their own files: what is compared are moments of one conversation.
# Exchanges expire by themselves: what has gone is taken out of the sets when these are walked or added to (by whether
# it is there, not by its age: one that was told late lives longer, and must still be found to be forgotten).
_COMMON = """
local p = KEYS[1]
local marks, told, rated = p .. ':marks', p .. ':told', p .. ':rated'
local function past(id) return p .. ':past:' .. id end
local function lane(a, b, c) return p .. ':lane:' .. a .. ':' .. b .. ':' .. c end
local function message(kind, a, b, id) return p .. ':' .. kind .. ':' .. a .. ':' .. b .. ':' .. id end
local function where(a, b) return p .. ':where:' .. a .. ':' .. b end
local function who(key) return p .. ':who:' .. key end
local function raters(key) return p .. ':rater:' .. key end
local function get(id, field) return redis.call('HGET', past(id), field) or '' end
local function unindex(id)
  local a, b = get(id, 'platform'), get(id, 'conversation')
  for each in string.gmatch(get(id, 'handle'), '[^,]+') do
    local key = message('answer', a, b, each)
    if redis.call('GET', key) == id then redis.call('DEL', key) end
  end
  local key = message('question', a, b, get(id, 'question_id'))
  if redis.call('GET', key) == id then redis.call('DEL', key) end
end
local function index(id, keep)
  local a, b = get(id, 'platform'), get(id, 'conversation')
  for each in string.gmatch(get(id, 'handle'), '[^,]+') do
    redis.call('SET', message('answer', a, b, each), id, 'EX', keep)
  end
  local asked = get(id, 'question_id')
  if asked ~= '' then redis.call('SET', message('question', a, b, asked), id, 'EX', keep) end
end
local function is_gone(id) return redis.call('EXISTS', past(id)) == 0 end
local function add(key, keep, at, id)
  redis.call('ZADD', key, at, id)
  redis.call('EXPIRE', key, keep)
  local before = string.format('(%.17g', tonumber(at) - tonumber(keep))
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', before, 'LIMIT', 0, 100)) do
    if is_gone(old) then redis.call('ZREM', key, old) end
  end
end
local function set_mark(name, at)
  if redis.call('ZADD', marks, 'GT', 'CH', at, name) == 0 then return end
  local now = redis.call('TIME')
  redis.call('ZADD', told, string.format('%d.%06d', now[1], now[2]), name)
end
local function enter(id, keep)
  local a, b, c, at = get(id, 'platform'), get(id, 'conversation'), get(id, 'person'), get(id, 'asked_at')
  add(lane(a, b, c), keep, at, id)
  add(where(a, b), keep, at, id)
  add(who(a .. ':' .. c), keep, at, id)
  index(id, keep)
end
local function remove(id)
  local a, b, c = get(id, 'platform'), get(id, 'conversation'), get(id, 'person')
  unindex(id)
  redis.call('ZREM', lane(a, b, c), id)
  redis.call('ZREM', where(a, b), id)
  redis.call('ZREM', who(a .. ':' .. c), id)
  redis.call('ZREM', rated, id)
  redis.call('DEL', past(id))
end
"""

PUT = Script(
    _COMMON
    + """
local id, keep = ARGV[1], ARGV[2]
local a, b, c, at = ARGV[4], ARGV[6], ARGV[8], ARGV[10]
local forgotten = redis.call('ZSCORE', marks, 'forget ' .. a .. ':' .. c)
if forgotten and tonumber(at) <= tonumber(forgotten) then return 0 end
if redis.call('EXISTS', past(id)) == 1 then unindex(id) end
redis.call('HSET', past(id), unpack(ARGV, 3))
redis.call('EXPIRE', past(id), keep)
enter(id, keep)
return 1
"""
)
SHOWN = Script(
    _COMMON
    + """
local id, keep, handle = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', past(id)) == 0 then return 0 end
unindex(id)
redis.call('HSET', past(id), 'handle', handle)
index(id, keep)
return 1
"""
)
DROP = Script(_COMMON + "remove(ARGV[1])")
LATEST = Script(
    _COMMON
    + """
local a, b, c = ARGV[1], ARGV[2], ARGV[3]
local began = redis.call('ZSCORE', marks, 'new ' .. a .. ':' .. b .. ':' .. c)
local from = began and ('(' .. began) or '-inf'
local found = {}
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', lane(a, b, c), '+inf', from, 'LIMIT', 0, ARGV[4])) do
  local row = redis.call('HGETALL', past(id))
  if #row > 0 then found[#found + 1] = row end
end
return found
"""
)
FIND = Script(
    _COMMON
    + """
local id = redis.call('GET', message(ARGV[1], ARGV[2], ARGV[3], ARGV[4]))
if not id then return {} end
return redis.call('HGETALL', past(id))
"""
)
MARK = Script(
    _COMMON
    + """
local kind, key, at = ARGV[1], ARGV[2], ARGV[3]
set_mark(kind .. ' ' .. key, at)
if kind == 'new' then return 0 end
local erased = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', who(key), '-inf', at)) do
  if is_gone(id) then
    redis.call('ZREM', who(key), id)
  else
    remove(id)
    erased = erased + 1
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', raters(key), '-inf', at)) do
  redis.call('HDEL', past(id), 'r:' .. string.match(key, '^[^:]*:(.*)$'))
  redis.call('ZREM', raters(key), id)
end
return erased
"""
)
MOVE = Script(
    _COMMON
    + """
local a, old, new, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for _, id in ipairs(redis.call('ZRANGE', where(a, old), 0, -1)) do
  if not is_gone(id) then
    local c = get(id, 'person')
    unindex(id)
    redis.call('ZREM', lane(a, old, c), id)
    local began = redis.call('ZSCORE', marks, 'new ' .. a .. ':' .. old .. ':' .. c)
    if began then set_mark('new ' .. a .. ':' .. new .. ':' .. c, began) end
    redis.call('HSET', past(id), 'conversation', new, 'handle', '', 'question_id', '')
    if get(id, 'place') == old then redis.call('HSET', past(id), 'place', new) end
    enter(id, keep)
  end
end
redis.call('DEL', where(a, old))
"""
)
RATE = Script(
    _COMMON
    + """
local id, person, at, body, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if is_gone(id) then return 0 end
local former = redis.call('HGET', past(id), 'r:' .. person)
if former and cjson.decode(former)[3] > tonumber(at) then return 1 end
redis.call('HSET', past(id), 'r:' .. person, body)
add(rated, keep, at, id)
add(raters(get(id, 'platform') .. ':' .. person), keep, at, id)
return 1
"""
)
RATED = Script(
    _COMMON
    + """
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', rated, ARGV[1], '+inf')) do
  local row = redis.call('HGETALL', past(id))
  if #row > 0 then found[#found + 1] = row end
end
return found
"""
)
TOLD = Script(
    _COMMON
    + """
local now = redis.call('TIME')
local found = {string.format('%d.%06d', now[1], now[2])}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', told, ARGV[1], '+inf')) do
  local at = redis.call('ZSCORE', marks, name)
  if at then
    found[#found + 1] = name
    found[#found + 1] = at
  end
end
return found
"""
)
PRUNE = Script(
    _COMMON
    + """
redis.call('ZREMRANGEBYSCORE', marks, '-inf', '(' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', told, '-inf', '(' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', rated, '-inf', '(' .. ARGV[1])
"""
)
