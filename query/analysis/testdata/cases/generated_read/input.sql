SELECT twice FROM computed WHERE id = 1
