SELECT author FROM blogs GROUP BY author HAVING count(*) > (SELECT count(*) FROM users WHERE active)
