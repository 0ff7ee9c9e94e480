SELECT b.title FROM blogs b LEFT JOIN users u ON u.handle = b.author WHERE u.id = $1::bigint
