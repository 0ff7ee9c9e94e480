SELECT id FROM guarded_1
