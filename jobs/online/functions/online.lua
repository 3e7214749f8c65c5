#!lua name=tidemill_online_4
-- Every change of a stored value goes through these functions, so that late writers never win.
-- The number in the names is the version of this file's behaviour: processes of two releases
-- may share one Redis, each with its own library.

-- Orders of one length, bytewise, four bytes at a time: the `<` of Lua compares strings by the server's locale.
local function older(new, old)
  for i = 1, #new, 4 do
    local a, b = struct.unpack('>I4', new, i), struct.unpack('>I4', old, i)
    if a ~= b then return a < b end
  end
  return false
end

-- keys: the hash of a shard's values; args: field and value in turn, each value beginning with its 24-byte order. Writes
-- those that are not older than what is stored; equal ones overwrite. Returns how many.
local function put(keys, args)
  local written = 0
  for i = 1, #args, 2 do
    local old = redis.call('HGET', keys[1], args[i])
    if not old or #old < 24 or not older(string.sub(args[i + 1], 1, 24), old) then
      redis.call('HSET', keys[1], args[i], args[i + 1])
      written = written + 1
    end
  end
  return written
end

-- A value of tiles has a head of 29 bytes, of which those from 25 to 28 name the layout; then its tiles by series and
-- index. Each tells these two, its order and its length, before what only readers understand.
local HEAD = 29

-- The tile that begins at a byte of a value; nil behind the last.
local function tile(value, at)
  if at > #value then return nil end
  local series, index, order, length, from = struct.unpack('>I2i8c16I4', value, at)
  return { series = series, index = index, order = order, at = at, next = from + length }
end

local function before(a, b)
  return a and (not b or a.series < b.series or (a.series == b.series and a.index < b.index))
end

-- The tiles of two values as one, or nil where `new` says nothing new. `first`: see `merge`.
local function merged(old, new, first)
  local out, fresh = { string.sub(new, 1, HEAD) }, false
  local a, b = tile(old, HEAD + 1), tile(new, HEAD + 1)
  while a or b do
    local from, chosen = old, a
    local only_old, only_new = before(a, b), before(b, a)
    if only_new or not only_old and not older(b.order, a.order) then
      from, chosen, fresh = new, b, true
    end
    if chosen.index >= struct.unpack('>i8', first, chosen.series * 8 + 1) then
      out[#out + 1] = string.sub(from, chosen.at, chosen.next - 1)
    end
    if not only_new then a = tile(old, a.next) end
    if not only_old then b = tile(new, b.next) end
  end
  return fresh and table.concat(out) or nil
end

-- keys: as of `put`; args: field, a value of tiles, and for each of its series the first tile (8 bytes) that is still of
-- use, in turn. Writes each tile that is not older than the one that is stored; equal ones overwrite; what is of no use any
-- more goes. A value of another layout is nothing. Returns how many values have changed.
local function merge(keys, args)
  local written = 0
  for i = 1, #args, 3 do
    local coming = args[i + 1]
    local old = redis.call('HGET', keys[1], args[i]) or ''
    if string.sub(old, 25, HEAD) ~= string.sub(coming, 25, HEAD) then old = '' end
    local value = merged(old, coming, args[i + 2])
    if value then
      redis.call('HSET', keys[1], args[i], value)
      written = written + 1
    end
  end
  return written
end

-- keys: the live set's hash; args: order (decimal), then field and content in turn.
-- Replaces the whole set unless a later order is stored. Returns 1 if it did.
local function publish(keys, args)
  local stored = tonumber(redis.call('HGET', keys[1], 'order') or '0')
  if tonumber(args[1]) < stored then return 0 end
  redis.call('DEL', keys[1])
  redis.call('HSET', keys[1], 'order', args[1])
  for i = 2, #args, 2 do redis.call('HSET', keys[1], args[i], args[i + 1]) end
  return 1
end

-- keys: the markers' hash; args: field, from and to (lake versions, decimal). Moves a marker forward that holds at
-- least `from`. One that is gone or holds less stays: what was there before was lost meanwhile. Returns 1 if it holds `to`.
local function mark(keys, args)
  local old = tonumber(redis.call('HGET', keys[1], args[1]) or '-1')
  if old < tonumber(args[2]) then return 0 end
  if old < tonumber(args[3]) then redis.call('HSET', keys[1], args[1], args[3]) end
  return 1
end

redis.register_function('tidemill_put_4', put)
redis.register_function('tidemill_merge_4', merge)
redis.register_function('tidemill_publish_4', publish)
redis.register_function('tidemill_mark_4', mark)
