-- Clears buckets and advances the watermark in one step, if nobody changed it since (rule 4 of the protocol).
-- KEYS: the watermark, then the buckets. ARGV: the five fields of the state that must be stored (all empty: no state that
-- can be read), whether a new chain begins (1 or 0), the number of shapes to retire, those, then fields and values to set.
-- Returns the number of buckets that were there, or -1 if the stored state is another one; then nothing was done.
local stored = redis.call('HMGET', KEYS[1], 'chain', 'session', 'sequence', 'position', 'at')
for i = 1, 5 do
  if (stored[i] or '') ~= ARGV[i] then return -1 end
end
local cleared = 0
for i = 2, #KEYS do
  cleared = cleared + redis.call('UNLINK', KEYS[i])
end
local at = 7
if ARGV[6] == '1' then redis.call('DEL', KEYS[1]) end
for _ = 1, tonumber(ARGV[7]) do
  at = at + 1
  redis.call('HDEL', KEYS[1], ARGV[at])
end
for i = at + 1, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return cleared
