WITH RECURSIVE r(i) AS (SELECT id FROM users WHERE active UNION SELECT a.quiz_id FROM attempts a JOIN r ON a.user_id = r.i WHERE a.score > 1 AND a.id = 9) SELECT i FROM r WHERE i = 2
