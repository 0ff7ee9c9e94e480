SELECT title FROM blogs b WHERE b.xmin::text = '7'
