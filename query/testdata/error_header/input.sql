-- nmae: a
-- route: FETCH /a
-- Result: many
-- result: several
-- ttl: ten
-- ttl: 5m
-- max-staleness: 2s
-- TODAY: tomorrow
-- doc:
SELECT 1
