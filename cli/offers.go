package cli

import (
	"strings"

	"github.com/modpipe/modpipe/internal/flags"
	"github.com/modpipe/modpipe/worker"
)

// offerFaults returns the faults of what a worker is to offer.
func offerFaults(o *flags.Offers) []string {
	cfg := worker.Config{}
	applyOffers(o, &cfg)
	cfg.Labels = nil // LabelFaults checks them
	return append(o.LabelFaults(), configFaults(cfg)...)
}

// configFaults are what the worker itself finds wrong, by flag.
func configFaults(cfg worker.Config) (faults []string) {
	err := cfg.Validate()
	if err == nil {
		return nil
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		faults = append(faults, "--"+line)
	}
	return faults
}

// applyOffers configures a worker; o has no faults.
func applyOffers(o *flags.Offers, cfg *worker.Config) {
	cfg.Tags, cfg.Labels = o.Tags, o.LabelMap()
	cfg.Tools, cfg.OnlyTools = o.SplitTools()
}
