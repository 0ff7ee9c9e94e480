WITH x AS (SELECT id, author FROM blogs ORDER BY id LIMIT 3) SELECT id FROM x WHERE author = 'k'
