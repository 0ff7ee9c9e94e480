SELECT b.title, u.name FROM blogs b JOIN users u ON u.handle = b.author WHERE u.id = $1::bigint
