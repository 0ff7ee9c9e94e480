SELECT x.id FROM (SELECT id, author FROM blogs ORDER BY id OFFSET 5) x WHERE x.author = 'k'
