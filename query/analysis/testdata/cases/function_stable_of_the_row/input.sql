SELECT (u).peek FROM users u
