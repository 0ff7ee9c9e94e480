SELECT 1 FROM users u JOIN kinds k ON k.si = u.id WHERE u.id = 5
