SELECT x.id FROM (SELECT id FROM blogs UNION SELECT id FROM users) x WHERE x.id = 1
