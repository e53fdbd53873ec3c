# Targets for people; .ci/run calls the same ones.

GO ?= go
TESTFLAGS ?=
MINUTES ?= 5
STEPS ?= 1000000
tool = $(GO) tool -modfile=tools/go.mod

.PHONY: help build test race e2e chaos lint fuzz bench bench-schedule bench-link bench-files simulate

help: ## print this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

build: ## build both programs into bin/
	$(GO) build -o bin/ ./cmd/...

test: ## run all tests, end to end too (TESTFLAGS=-v)
	$(GO) test -timeout 30m $(TESTFLAGS) ./...

race: ## run all tests but the end-to-end ones under the race detector
	$(GO) test -race $(TESTFLAGS) $$($(GO) list ./... | grep -v "/test/e2e$$")

e2e: ## run the end-to-end tests on programs built with the race detector
	$(GO) test -count=1 -timeout 30m $(TESTFLAGS) ./test/e2e -race-binaries

lint: ## check format, vet and lint (the package order too); FIX=1 formats first
	$(if $(FIX),$(tool) golangci-lint fmt ./...)
	$(GO) vet ./...
	$(tool) golangci-lint run ./...

fuzz: ## run every fuzz target in turn, MINUTES= together; what it finds becomes a seed
	@GO="$(GO)" .ci/fuzz $(MINUTES)

chaos: ## kill, stop and cut off real processes for five minutes (MINUTES=, SEED=)
	$(GO) run ./test/chaos -minutes $(MINUTES) -seed $(or $(SEED),0)

bench: ## measure the engine beside its floor (test/bench/core.json), and 5,000 commands beside xargs
	$(GO) run ./test/bench
	$(GO) test -run '^$$' -bench . -benchtime 1x ./test/e2e

bench-schedule: ## measure schedules of real graphs beside their lower bound, in virtual time
	@$(GO) run ./test/bench schedule

bench-link: ## measure what values and logs use of slow and distant links (test/bench/link.json, docs/nats.md)
	$(GO) run ./test/bench link

bench-files: ## measure how trees of files travel, beside floors (test/bench/files.json); needs tar, zstd and git
	$(GO) run ./test/bench files

simulate: ## simulate the whole system and its faults (SEED=1 STEPS=1000000)
	@$(GO) run ./test/simulate/cmd -seed $(or $(SEED),1) -steps $(STEPS)
