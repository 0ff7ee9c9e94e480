WITH blogs AS (SELECT 1 AS id) SELECT b.id FROM public.blogs b WHERE b.id = 2
