SELECT b.title FROM blogs b WHERE EXISTS (SELECT 1 FROM users u WHERE b.id = 5 AND u.handle = b.author)
