SELECT x.n FROM (SELECT b.id, u.name AS n FROM blogs b LEFT JOIN users u ON u.handle = b.author) x WHERE x.n = 'a'
