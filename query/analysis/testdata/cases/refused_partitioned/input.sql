SELECT id FROM parts
