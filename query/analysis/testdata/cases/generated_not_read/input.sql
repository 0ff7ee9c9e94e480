SELECT spare FROM computed WHERE id = 1
