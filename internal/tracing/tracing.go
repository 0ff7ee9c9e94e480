// Package tracing owns OpenTelemetry in Freshet's processes: whether traces are made, where they go, and what ties the work for one
// request together, the trace and the request id, in spans and in log lines.
//
// Traces are off unless the environment's OTEL_* variables switch them on. All methods of a nil Tracing do nothing, so that whoever
// traces need not ask; and the processes put nothing of it on the way of a request then.
//
// It must never slow anything down or fail it: spans wait in a bounded queue, and what a collector does not take in time is dropped. It
// must never send values of rows, parameters or secrets: statements go as they stand in the query files, Redis commands by their names.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// scope names our own spans' tracer.
	scope = "freshet"
	// flushTimeout bounds how long the end of a process waits for the collector to take what is left.
	flushTimeout = 3 * time.Second
	// complainInterval is how often it is logged that the collector does not take spans.
	complainInterval = time.Minute
)

// Tracing makes the traces of one process. nil makes none. Make it with Start, end it with Stop.
type Tracing struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	// always samples, whatever the sampler says of others: what belongs to a request that is traced.
	always trace.Tracer
	log    *slog.Logger
}

// Help is what --help says of traces.
const Help = `Traces (OpenTelemetry) are on if OTEL_EXPORTER_OTLP_ENDPOINT is set, such as http://localhost:4318, or OTEL_TRACES_EXPORTER=otlp.
OTEL_EXPORTER_OTLP_PROTOCOL (http/protobuf, or grpc), OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES,
OTEL_SERVICE_NAME and OTEL_SDK_DISABLED are heeded too.`

// Start begins to trace if the environment says so; otherwise it returns nil. It does not connect: a collector may come later. process
// names the service, freshet-<process>, unless OTEL_SERVICE_NAME does.
func Start(ctx context.Context, process, version string, log *slog.Logger) (*Tracing, error) {
	on, err := enabled(os.Getenv)
	if !on {
		return nil, err
	}
	client, err := newClient(os.Getenv)
	if err != nil {
		return nil, err
	}
	// Errors of the SDK would else go to standard error, in a form of their own, each of them.
	otel.SetErrorHandler(&complaints{log: log})
	otel.SetLogger(logr.FromSlogHandler(errorsOnly{log.Handler()}))
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("export traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(
		attribute.String("service.name", "freshet-"+process), attribute.String("service.version", version),
	), resource.WithFromEnv()) // what comes later counts
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	// It never blocks: what its queue has no room for is dropped.
	spans := sdk.NewBatchSpanProcessor(exporter)
	t := &Tracing{
		log:      log,
		provider: sdk.NewTracerProvider(sdk.WithSpanProcessor(spans), sdk.WithResource(about)),
	}
	t.tracer = t.provider.Tracer(scope, trace.WithInstrumentationVersion(version))
	t.always = sdk.NewTracerProvider(sdk.WithSpanProcessor(spans), sdk.WithResource(about), sdk.WithSampler(sdk.AlwaysSample())).
		Tracer(scope, trace.WithInstrumentationVersion(version))
	log.Info("tracing", "service", process)
	return t, nil
}

// Stop exports what is left, as long as the collector takes it in time. ctx may have ended.
func (t *Tracing) Stop(ctx context.Context) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last spans were not exported", "error", err)
	}
}

// enabled tells whether traces are on. The words are those of the OpenTelemetry specification, except that no endpoint means none: that
// a collector may be listening on this machine is no reason to try.
func enabled(getenv func(string) string) (bool, error) {
	if strings.EqualFold(strings.TrimSpace(getenv("OTEL_SDK_DISABLED")), "true") {
		return false, nil
	}
	switch exporter := strings.ToLower(strings.TrimSpace(getenv("OTEL_TRACES_EXPORTER"))); exporter {
	case "none":
		return false, nil
	case "otlp":
		return true, nil
	case "":
		return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "", nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER=%q must be otlp or none", exporter)
	}
}

// newClient speaks the protocol that the environment names. Both read the rest of their settings from it themselves.
func newClient(getenv func(string) string) (otlptrace.Client, error) {
	protocol := getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "", "http/protobuf":
		return otlptracehttp.NewClient(), nil
	case "grpc":
		return otlptracegrpc.NewClient(), nil
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%q must be http/protobuf or grpc", protocol)
}

// errorsOnly leaves out what the SDK tells of itself.
type errorsOnly struct{ slog.Handler }

// Enabled is that of slog.Handler.
func (h errorsOnly) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && h.Handler.Enabled(ctx, level)
}

// complaints logs errors of the SDK, which come for each batch that is not taken, now and then.
type complaints struct {
	log  *slog.Logger
	last atomic.Int64 // in nanoseconds
}

// Handle is otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	now, last := time.Now().UnixNano(), c.last.Load()
	if now-last > int64(complainInterval) && c.last.CompareAndSwap(last, now) {
		c.log.Warn("traces are not exported; nothing else suffers", "error", err)
	}
}
