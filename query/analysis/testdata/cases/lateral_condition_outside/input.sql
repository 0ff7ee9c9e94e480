SELECT x.title FROM users u, LATERAL (SELECT b.title, b.status FROM blogs b WHERE b.author = u.handle) x WHERE x.status = 'a'
