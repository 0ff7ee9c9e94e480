//go:build !linux

package testenv

// mountDisk says that we cannot: other systems make a file system in memory with programs of their own.
func mountDisk(string, int64) (bool, error) { return false, nil }

func unmountDisk(string) error { return nil }

func unmountBelow(string) error { return nil }
