SELECT b.slug FROM blogs b LEFT JOIN (SELECT quiz_id AS id, count(*) FROM attempts GROUP BY 1) c USING (id) WHERE b.id = 1
