SELECT id AS views FROM blogs ORDER BY views
