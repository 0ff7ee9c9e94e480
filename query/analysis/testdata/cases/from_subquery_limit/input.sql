SELECT x.id FROM (SELECT id, author FROM blogs ORDER BY views LIMIT 5) x WHERE x.author = 'k'
