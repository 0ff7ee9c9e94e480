WITH x AS (SELECT id, author FROM blogs WHERE status = 'a') SELECT p.id FROM x p JOIN x q ON q.id = p.id WHERE p.author = 'k' AND q.author = 'l'
