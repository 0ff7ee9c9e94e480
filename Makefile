# Everything that is done to this repository has a target here; `make` lists them.

# What `freshet version` prints: the nearest tag and commit, or "dev" outside git.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Pinned here and not in go.mod: its 200 dependencies are no business of ours.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# How often `make faults` does everything.
RUNS ?= 1

# How long `make fuzz` spends on each fuzz target.
FUZZTIME ?= 20s

# The chart library of the page. Its files are in the repository: nobody who builds needs npm.
UPLOT := 1.6.32

.DEFAULT_GOAL := help
.PHONY: help setup build run test faults fuzz soundness model bench load lint fmt ui-vendor screenshots verify clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing of Postgres and Redis, or say what to install
	@./deploy/setup.sh

build: ## Build bin/freshet
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/freshet ./cmd/freshet

run: setup build ## Build, and run everything on this machine: http://127.0.0.1:8080
	@exec bin/freshet dev

# -count=1: the tests talk to real servers, which go's test cache knows nothing of.
test: ## Test everything, on real servers and in a real browser, with the race detector
	@./deploy/setup.sh tests
	go test -race -count=1 -timeout 15m ./...

faults: setup ## Break everything under load, RUNS=1 times, and write the table in docs/faults.md
	go test -count=1 -timeout 2h -v -run TestFaults ./faults -all -runs $(RUNS) -lasting 2s -within 5s -report $(CURDIR)/docs/faults.md

fuzz: ## Run every fuzz target in turn, FUZZTIME=20s each
	@grep -rHo --include='*_test.go' --exclude-dir='.*' '^func Fuzz[A-Za-z0-9_]*' * | sort | \
	while IFS=: read -r file target; do \
		echo "$$file: $${target#func }"; \
		go test -run '^$$' -fuzz "^$${target#func }\$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")" </dev/null || exit 1; \
	done

soundness: setup ## Check what is derived from SQL against 100,000 random writes
	go test -count=1 -timeout 60m ./query/analysis/soundness -run TestSoundness -v -pairs 100000

model: ## Explore the large configurations of the protocol's model (a few GB of memory, minutes)
	go test -count=1 -timeout 60m -v -run TestProtocol ./cache/model -large

bench: setup ## Measure, on real servers: latency from commit to cleared key, throughput
	go run ./bench
	go test -run '^$$' -bench 'Match|Analyze|Start' -benchtime 1s -cpu 1 ./invalidator ./query/analysis ./api

load: setup build ## Put 100 users on the example for 30 s, and judge its targets (LOAD='--duration 10s' ...)
	@./load/load.sh $(LOAD)

lint: ## Check the code, and who imports whom (.golangci.yml)
	go run $(GOLANGCI_LINT) run

fmt: ## Format the code
	gofmt -s -w .

ui-vendor: ## Fetch the chart library of the page again, from npm (api/ui/vendor)
	@./api/ui/vendor.sh $(UPLOT)

screenshots: ## Take the pictures of the page in docs/ again
	@./deploy/setup.sh tests
	go test -count=1 -v -run TestPage ./cmd/freshet -screenshots $(CURDIR)/docs/screenshots

verify: ## Clone this repository afresh and check that `make run` comes up and serves
	@./.ci/verify.sh

clean: ## Remove what was built; the data of `make run` stays
	rm -rf bin
