WITH x AS (SELECT id, author FROM blogs) SELECT title FROM quizzes WHERE id IN (SELECT id FROM x WHERE author = 'k')
