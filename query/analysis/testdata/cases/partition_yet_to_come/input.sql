SELECT k FROM unparted WHERE id = 1
