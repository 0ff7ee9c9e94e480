WITH users AS (SELECT id, author AS handle FROM blogs) SELECT id FROM users WHERE handle = 'k'
