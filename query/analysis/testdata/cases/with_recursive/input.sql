WITH RECURSIVE r(i, n) AS (SELECT id, views FROM blogs WHERE id = $1::bigint UNION ALL SELECT b.id, b.views FROM blogs b JOIN r ON b.id = r.n) SELECT i FROM r WHERE n = 5
