package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// mountDisk mounts a small file system in memory on the folder. It tells whether we may.
func mountDisk(dir string, bytes int64) (bool, error) {
	options := "mode=0755,size=" + strconv.FormatInt(bytes, 10)
	err := syscall.Mount("freshet-test", dir, "tmpfs", 0, options)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("mount a disk on %s: %w", dir, err)
	}
	return true, nil
}

// unmountDisk takes the file system away, also from those who have files open on it.
func unmountDisk(dir string) error {
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the disk on %s: %w", dir, err)
	}
	return nil
}

// unmountBelow takes away the disks of a test that was killed.
func unmountBelow(dir string) error {
	file, err := os.Open("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("look for disks of killed tests: %w", err)
	}
	defer file.Close()
	var all error
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// Source, place, kind (proc_mounts(5)). Our own names have nothing that would be escaped.
		fields := strings.Fields(lines.Text())
		if len(fields) > 2 && fields[0] == "freshet-test" && strings.HasPrefix(fields[1], dir+"/") {
			all = errors.Join(all, unmountDisk(fields[1]))
		}
	}
	return errors.Join(all, lines.Err())
}
