SELECT 1 FROM users u JOIN attempts a ON a.user_id >= u.id WHERE u.id = 5
