SELECT 1 FROM users u JOIN kinds k ON k.n = u.id WHERE u.id = 5
