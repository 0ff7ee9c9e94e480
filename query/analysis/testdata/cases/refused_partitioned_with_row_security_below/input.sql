SELECT id FROM guarded
