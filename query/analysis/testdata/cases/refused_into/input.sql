SELECT title INTO copy FROM blogs
