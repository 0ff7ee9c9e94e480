SELECT u.handle, x.title FROM users u, LATERAL (SELECT title FROM blogs b WHERE b.author = u.handle AND b.status = 'a') x WHERE u.id = $1::bigint
