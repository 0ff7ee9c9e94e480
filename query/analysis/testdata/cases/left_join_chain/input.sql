SELECT b.title FROM blogs b LEFT JOIN users u ON u.handle = b.author LEFT JOIN attempts a ON a.user_id = u.id AND u.id = 7
