SELECT b.title, u.name FROM blogs b LEFT JOIN users u ON u.handle = b.author AND b.author = 'x'
