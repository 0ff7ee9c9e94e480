SELECT title FROM public.blogs WHERE EXISTS (SELECT 1 FROM other.blogs WHERE public.blogs.id = 5)
