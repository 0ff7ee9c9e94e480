// The program parrot prints its argument, then each line of SIGHUP it gets, and ends with status 3 on SIGTERM.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
	fmt.Println("ready", os.Args[1], os.Getenv("PARROT"))
	for sig := range signals {
		if sig == syscall.SIGTERM {
			fmt.Println("bye")
			os.Exit(3)
		}
		fmt.Println("hangup")
	}
}
