SELECT id FROM computed WHERE twice = 4 AND id = 1
