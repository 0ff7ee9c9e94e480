SELECT author FROM blogs WHERE status = 'a' INTERSECT SELECT handle FROM users WHERE active
