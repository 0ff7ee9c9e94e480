SELECT count(*) FROM blogs
