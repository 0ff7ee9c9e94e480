SELECT x.id FROM (SELECT id FROM blogs WHERE author = 'k' LIMIT 3) x WHERE x.id = 1
