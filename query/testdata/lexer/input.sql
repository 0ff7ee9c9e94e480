-- name: lexer
-- route: GET /lexer
-- param: a text
-- param: b int
-- param: tags text[]
-- param: unused_in_sql text
-- result: many
-- ttl: 1h30m
-- max_staleness: 2s
-- depends: t(x = :unused_in_sql)
SELECT ':a', 'it''s :a', E'\':a', e'x'
    '\':a', U&'\0041:a', "c:a""d:a", $$ :a $1 ; ' $$, $t$ $$ :a $t$, -- :a ' $1
    /* :a /* nested ' */ :a ; */
    :a::text, x::int, y:=1, z[1:2], z[:b], z[1 : :b], :tags[1], (:tags) [2],
    :a||:a, f(n=>:b), a$1, $q, é:b, x->>:a, E'\\', 'C:\'
FROM t WHERE x=ANY(:tags) LIMIT:b;
-- the end; really
