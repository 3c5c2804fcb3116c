-- Sliding windows for all limits of a call: charges its cost to each of them, or to none.
-- Same algorithm as `Window` in src/domain/limit.rs, but with the clock that all replicas share: this server's.
--
-- KEYS     one hash per limit. Field `s`: length of its sub-windows. Other fields: time of the newest call of a
--          sub-window, in microseconds, with the count of that sub-window.
-- ARGV     microseconds to add to the clock; the cost; `take` to charge or `look` to check only. Then for each limit:
--          its quota; length of a sub-window and of the window, in microseconds; `absent` or `always`; number of
--          counts that follow; and those counts, each as time of the newest call and count. They are what the caller
--          counted. They are merged always, or if the hash is absent; the higher count of each sub-window wins.
-- Returns  the time, 1 if the cost was charged, and for each limit the times and counts that matter now.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2]) + tonumber(ARGV[1])
local cost, takes = tonumber(ARGV[2]), ARGV[3] == 'take'
local next_argument = 4

local function argument()
  next_argument = next_argument + 1
  return ARGV[next_argument - 1]
end

local function number_of(instant, length)
  return (instant - instant % length) / length
end

-- Adds a call, or a stored sub-window with the time of its newest call.
local function add(counts, length, at, count)
  local number = number_of(at, length)
  local known = counts[number]
  if known then
    known.at, known.count = math.max(known.at, at), known.count + count
  else
    counts[number] = { at = at, count = count }
  end
end

-- Returns the stored counts by number of the sub-window, for this length, and the stored length. The length is nil if
-- nothing is stored.
local function stored(key, length)
  local fields, counts, had = redis.call('HGETALL', key), {}, nil
  for i = 1, #fields, 2 do
    local at, count = tonumber(fields[i]), tonumber(fields[i + 1])
    if fields[i] == 's' then
      had = count
    elseif at and count then
      add(counts, length, at, count)
    end
  end
  return counts, had
end

-- Merges the caller's counts and returns true if that changed anything. Times after `newest` come from a clock that is
-- ahead, so they count as now.
local function told(counts, length, newest, is_wanted)
  local theirs, is_news = {}, false
  for _ = 1, tonumber(argument()) do
    local at, count = math.min(tonumber(argument()), newest), tonumber(argument())
    add(theirs, length, at, count)
  end
  for number, one in pairs(theirs) do
    local known = counts[number]
    if is_wanted and (known and known.count or 0) < one.count then
      counts[number] = { at = math.max(one.at, known and known.at or one.at), count = one.count }
      is_news = true
    end
  end
  return is_news
end

-- Reads the state of one limit before the call.
local function read(key)
  local quota, length, window, mode = tonumber(argument()), tonumber(argument()), tonumber(argument()), argument()
  local counts, had = stored(key, length)
  local current = now
  for _, one in pairs(counts) do
    current = math.max(current, one.at)
  end
  local is_news = told(counts, length, current, mode == 'always' or had == nil)
  local used, stale = 0, {}
  for number, one in pairs(counts) do
    if one.at + window <= current then
      counts[number] = nil
      stale[#stale + 1] = one.at
    else
      used = used + one.count
    end
  end
  return {
    key = key,
    length = length,
    window = window,
    counts = counts,
    current = current,
    stale = stale,
    is_news = is_news,
    is_whole = had ~= length or is_news,
    fits = cost == 0 or (cost <= quota and used <= quota - cost),
  }
end

-- Stores the changes of a limit: all counts, or the newest count and the removal of stale ones.
local function write(limit)
  if limit.is_whole then
    local fields = { 's', limit.length }
    for _, one in pairs(limit.counts) do
      fields[#fields + 1] = one.at
      fields[#fields + 1] = one.count
    end
    redis.call('DEL', limit.key)
    redis.call('HSET', limit.key, unpack(fields))
  else
    local newest = limit.counts[number_of(limit.current, limit.length)]
    -- This write comes first: a full Redis refuses it as long as the script has written nothing.
    redis.call('HSET', limit.key, newest.at, newest.count)
    if 0 < #limit.stale then
      redis.call('HDEL', limit.key, unpack(limit.stale))
    end
  end
  local rest = limit.current + limit.window - now
  redis.call('PEXPIRE', limit.key, math.ceil(rest / 1000))
end

local limits, fit = {}, true
for i, key in ipairs(KEYS) do
  limits[i] = read(key)
  fit = fit and limits[i].fits
end

local is_taken = takes and fit and 0 < cost
local standing = {}
for i, limit in ipairs(limits) do
  if is_taken then
    local known = limit.counts[number_of(limit.current, limit.length)]
    if known and known.at < limit.current then
      limit.stale[#limit.stale + 1] = known.at
    end
    add(limit.counts, limit.length, limit.current, cost)
  end
  if is_taken or limit.is_news then
    write(limit)
  end
  local flat = {}
  for _, one in pairs(limit.counts) do
    flat[#flat + 1] = one.at
    flat[#flat + 1] = one.count
  end
  standing[i] = flat
end
return { now, is_taken and 1 or 0, standing }
