-- Sliding windows of 60 sub-windows for all limits of a call at once: its cost is taken from each of them, or from none.
-- This is `Window` of src/domain/limit.rs again, by the one clock that all processes share: this server's.
--
-- KEYS   a hash for each limit: under `s` the length of its sub-windows, under their numbers what was counted in them.
-- ARGV   microseconds to add to the clock; the cost; `take` or `look`. Then for each limit: its quota, the length of a
--        sub-window in microseconds, `absent` or `always`, how many counts follow, and these, each as number and count.
--        They are what the caller knows of, and are taken over where there is no hash, or always: the higher of each.
-- Answers the time, 1 where the cost was taken, and for each limit the numbers and counts that matter now.

local BEFORE = 60

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

-- What is stored, in sub-windows of this length: where they had another, each count goes wholly into the newest one that
-- its old one touches up to now. And the length that they had, nil where nothing is stored.
local function stored(key, length)
  local fields, counts, had = redis.call('HGETALL', key), {}, nil
  for i = 1, #fields, 2 do
    local name, value = fields[i], tonumber(fields[i + 1])
    if name == 's' then
      had = value
    elseif tonumber(name) and value then
      counts[tonumber(name)] = value
    end
  end
  if had == nil or had == length then
    return counts, had
  end
  local moved = {}
  for number, count in pairs(counts) do
    local to = number_of(math.min((number + 1) * had - 1, math.max(now, number * had)), length)
    moved[to] = (moved[to] or 0) + count
  end
  return moved, had
end

-- Takes over what the caller knows, nothing of it later than the newest: by a clock that is ahead, it was now. Whether that
-- was news.
local function told(counts, newest, is_wanted)
  local theirs, is_news = {}, false
  for _ = 1, tonumber(argument()) do
    local number, count = math.min(tonumber(argument()), newest), tonumber(argument())
    theirs[number] = (theirs[number] or 0) + count
  end
  for number, count in pairs(theirs) do
    if is_wanted and (counts[number] or 0) < count then
      counts[number] = count
      is_news = true
    end
  end
  return is_news
end

-- One limit as it stands before the call.
local function read(key)
  local quota, length, mode = tonumber(argument()), tonumber(argument()), argument()
  local counts, had = stored(key, length)
  local current = number_of(now, length)
  for number in pairs(counts) do
    current = math.max(current, number)
  end
  local is_news = told(counts, current, mode == 'always' or had == nil)
  local used, stale = 0, {}
  for number, count in pairs(counts) do
    if number < current - BEFORE then
      counts[number] = nil
      stale[#stale + 1] = number
    else
      used = used + count
    end
  end
  return {
    key = key,
    length = length,
    counts = counts,
    current = current,
    stale = stale,
    is_news = is_news,
    is_whole = had ~= length or is_news,
    fits = cost == 0 or (cost <= quota and used <= quota - cost),
  }
end

-- Stores what changed of it: all of it, or one count and what has gone.
local function write(limit)
  if limit.is_whole then
    local fields = { 's', limit.length }
    for number, count in pairs(limit.counts) do
      fields[#fields + 1] = number
      fields[#fields + 1] = count
    end
    redis.call('DEL', limit.key)
    redis.call('HSET', limit.key, unpack(fields))
  else
    if 0 < #limit.stale then
      redis.call('HDEL', limit.key, unpack(limit.stale))
    end
    redis.call('HSET', limit.key, limit.current, limit.counts[limit.current])
  end
  local rest = (limit.current + BEFORE + 1) * limit.length - now
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
    limit.counts[limit.current] = (limit.counts[limit.current] or 0) + cost
  end
  if is_taken or limit.is_news then
    write(limit)
  end
  local flat = {}
  for number, count in pairs(limit.counts) do
    flat[#flat + 1] = number
    flat[#flat + 1] = count
  end
  standing[i] = flat
end
return { now, is_taken and 1 or 0, standing }
