SELECT u.name, c.n FROM users u LEFT JOIN (SELECT user_id, count(*) AS n FROM attempts GROUP BY user_id) c ON c.user_id = u.id WHERE u.id = $1::bigint
