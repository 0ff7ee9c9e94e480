SELECT ctid, title FROM blogs
