SELECT id FROM blogs WHERE author = 'x' UNION SELECT id FROM users WHERE id = $1::bigint
