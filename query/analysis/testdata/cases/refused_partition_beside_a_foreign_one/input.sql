SELECT id FROM outsourced_here
