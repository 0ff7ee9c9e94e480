SELECT id FROM dice
