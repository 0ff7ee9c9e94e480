SELECT title FROM blogs WHERE CASE WHEN draft THEN id = 1 ELSE id = 2 END
