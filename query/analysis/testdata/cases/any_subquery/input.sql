SELECT title FROM blogs WHERE id = ANY (SELECT quiz_id FROM attempts WHERE user_id = $1::bigint)
