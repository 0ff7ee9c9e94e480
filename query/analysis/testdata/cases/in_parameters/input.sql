SELECT title FROM blogs WHERE id IN ($1::bigint, $2::bigint, 7)
