SELECT u.name FROM users u WHERE NOT EXISTS (SELECT 1 FROM blogs b WHERE b.author = u.handle AND b.status = 'a')
