SELECT CASE WHEN draft THEN title ELSE slug END FROM blogs WHERE id = 1
