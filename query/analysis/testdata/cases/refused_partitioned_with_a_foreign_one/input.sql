SELECT id FROM outsourced
