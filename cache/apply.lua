-- Clears buckets and advances the watermark in one step, if nobody changed it since: rule 4 of the protocol
-- (cache/model: tokenDiesWithBucket, stateCompared, stampCompared, oneStep).
-- KEYS: the watermark, then the buckets. ARGV: the stamp of the state that must be stored ('' for: no state that can be read),
-- whether a new chain begins (1 or 0), how many groups the buckets are in, the size of each, the number of shapes to retire, those,
-- then fields and values to set.
-- Returns for each group the number of buckets that were there, or {-1} if the stored state is another one; then nothing was done.
if (redis.call('HGET', KEYS[1], 'stamp') or '') ~= ARGV[1] then return {-1} end
local cleared = {}
local first, groups = 2, tonumber(ARGV[3])
for g = 1, groups do
  local last = first + tonumber(ARGV[3 + g]) - 1
  cleared[g] = 0
  -- In pieces: the stack of Lua holds some thousand arguments.
  for i = first, last, 1000 do
    cleared[g] = cleared[g] + redis.call('UNLINK', unpack(KEYS, i, math.min(i + 999, last)))
  end
  first = last + 1
end
if ARGV[2] == '1' then redis.call('DEL', KEYS[1]) end
local retire = 5 + groups -- where the shapes to retire begin
local set = retire + tonumber(ARGV[retire - 1]) -- where the fields to set begin
for i = retire, set - 1 do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
for i = set, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
return cleared
