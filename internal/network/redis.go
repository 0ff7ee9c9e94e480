package network

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/redis/go-redis/v9"
)

// DialRedis makes the options' connections by Dialer. The options' DialTimeout and TLSConfig hold.
func DialRedis(options *redis.Options) {
	options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := Dialer()
		dialer.Timeout = options.DialTimeout
		if options.TLSConfig == nil {
			return dialer.DialContext(ctx, network, address)
		}
		return (&tls.Dialer{NetDialer: dialer, Config: options.TLSConfig}).DialContext(ctx, network, address)
	}
}
