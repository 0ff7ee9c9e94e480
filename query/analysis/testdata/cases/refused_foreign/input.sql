SELECT id FROM distant
