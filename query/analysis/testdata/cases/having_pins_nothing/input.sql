SELECT author, count(*) FROM blogs GROUP BY author HAVING author = 'x'
