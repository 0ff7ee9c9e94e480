SELECT odd_sum(views) FROM blogs
