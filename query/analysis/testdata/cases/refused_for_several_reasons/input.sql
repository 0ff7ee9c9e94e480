SELECT random() FROM secret, digest
