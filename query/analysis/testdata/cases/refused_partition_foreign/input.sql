SELECT id FROM outsourced_far
