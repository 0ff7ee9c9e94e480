SELECT random() FROM blogs
