SELECT title FROM quizzes WHERE id IN (WITH x AS (SELECT id, author FROM blogs) SELECT id FROM x WHERE author = 'k')
