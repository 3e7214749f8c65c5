#!lua name=tidemill_online_2
-- Every change of a stored value goes through these functions, so that late writers never win.
-- The number in the names is the version of this file's behaviour: processes of two releases
-- may share one Redis, each with its own library.

-- Bytewise, four bytes at a time: the `<` of Lua compares strings by the server's locale.
local function older(new, old)
  local a = { struct.unpack('>I4I4I4I4I4I4', new) }
  local b = { struct.unpack('>I4I4I4I4I4I4', old) }
  for i = 1, 6 do
    if a[i] ~= b[i] then return a[i] < b[i] end
  end
  return false
end

-- keys: values' keys; args: one value for each, beginning with its 24-byte order.
-- Writes those that are not older than what is stored; equal ones overwrite. Returns how many.
local function put(keys, args)
  local written = 0
  for i, key in ipairs(keys) do
    local old = redis.call('GETRANGE', key, 0, 23)
    if #old < 24 or not older(args[i], old) then
      redis.call('SET', key, args[i])
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

redis.register_function('tidemill_put_2', put)
redis.register_function('tidemill_publish_2', publish)
redis.register_function('tidemill_mark_2', mark)
