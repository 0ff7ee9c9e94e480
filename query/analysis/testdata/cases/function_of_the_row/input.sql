SELECT u.full_name FROM users u WHERE u.id = 1
