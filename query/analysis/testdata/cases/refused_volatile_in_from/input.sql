SELECT 1 FROM blogs, LATERAL touch() t
