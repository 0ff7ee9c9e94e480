SELECT b.title FROM blogs b WHERE EXISTS (SELECT 1 FROM users b WHERE b.id = 1 AND b.name = 'x')
