SELECT x.title FROM (SELECT b.*, u.name FROM blogs b, users u) x WHERE x.status = 'a'
