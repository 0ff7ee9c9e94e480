WITH x AS (SELECT id, author FROM blogs), y AS (SELECT id FROM x WHERE author = 'k') SELECT id FROM y WHERE id = 1
