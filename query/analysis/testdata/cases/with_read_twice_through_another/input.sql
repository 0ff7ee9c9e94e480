WITH x AS (SELECT id, author FROM blogs), y AS (SELECT id FROM x WHERE author = 'k') SELECT p.id FROM y p, y q WHERE p.id = 1
