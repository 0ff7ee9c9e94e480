SELECT b.title FROM blogs b LEFT JOIN users u ON u.handle = b.author AND u.id = 4 WHERE u.id IS NULL
