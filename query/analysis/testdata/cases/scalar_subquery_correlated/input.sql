SELECT title, (SELECT count(*) FROM attempts a WHERE a.quiz_id = b.id) FROM blogs b WHERE b.id = 1
