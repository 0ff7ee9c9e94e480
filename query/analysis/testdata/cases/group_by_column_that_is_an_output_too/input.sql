SELECT lower(author) AS status FROM blogs GROUP BY status, author
