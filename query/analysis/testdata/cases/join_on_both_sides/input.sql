SELECT b.title FROM blogs b JOIN users u ON u.handle = b.author AND b.status = 'published' AND u.active
