SELECT other.blogs.k FROM public.blogs, other.blogs WHERE public.blogs.id = 1
