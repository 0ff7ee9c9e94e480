SELECT touch(), title FROM blogs
