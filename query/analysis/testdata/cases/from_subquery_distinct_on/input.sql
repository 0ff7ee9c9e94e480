SELECT x.id FROM (SELECT DISTINCT ON (author) author, id FROM blogs ORDER BY author, views) x WHERE x.id = 5
