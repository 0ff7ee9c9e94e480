SELECT x.author FROM (SELECT author FROM blogs GROUP BY author HAVING max(views) > 5) x WHERE x.author = 'k'
