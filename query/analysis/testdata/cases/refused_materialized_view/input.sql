SELECT n FROM digest
