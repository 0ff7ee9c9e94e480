SELECT x.w FROM (SELECT other.blogs.* FROM public.blogs, other.blogs) x(v, w) WHERE x.v = 5
