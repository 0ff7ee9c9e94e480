SELECT b.title FROM blogs b JOIN users u ON u.handle = b.author OR u.id = 1
