SELECT "select", "a b" FROM "Order" WHERE "Id" = 1
