SELECT u.handle, x.title FROM users u LEFT JOIN LATERAL (SELECT b.title, b.status FROM blogs b WHERE b.author = u.handle AND NOT b.draft ORDER BY b.created_at LIMIT 1) x ON x.status = 'a'
