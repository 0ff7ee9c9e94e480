SELECT lower(author) AS who, count(*) FROM blogs GROUP BY who
