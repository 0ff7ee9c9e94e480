SELECT id FROM hasty
