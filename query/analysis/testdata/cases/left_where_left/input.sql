SELECT b.title, u.name FROM blogs b LEFT JOIN users u ON u.handle = b.author WHERE b.id = $1::bigint
