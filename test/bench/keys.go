package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/modpipe/modpipe/internal/access"
)

// unsigned is engine without signing keys: `unsigned WORK MODE`.
func unsigned(args []string) error {
	access.Unsigned()
	return engine(args)
}

// keys measures what signatures cost: each work with and without signing keys, in
// turn, so that both see the same machine. It prints the medians.
func keys(args []string) error {
	set := flag.NewFlagSet("keys", flag.ContinueOnError)
	rounds := set.Int("rounds", 5, "how often each is measured; the median counts")
	if err := set.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "work\tmode\tsigned/s\tunsigned/s\tcost\tCPU µs\tunsigned CPU µs\t")
	for _, work := range works() {
		for _, mode := range []string{inProcess, processes} {
			found := map[string][]figures{}
			for range *rounds {
				for _, role := range []string{"engine", "unsigned"} {
					f, err := child(ctx, role, work.name, mode)
					if err != nil {
						return fmt.Errorf("%s, %s, %s: %w", work.name, mode, role, err)
					}
					found[role] = append(found[role], f)
				}
			}
			signed, plain, n := median(found["engine"]), median(found["unsigned"]), float64(work.modules)
			_, _ = fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.1f %%\t%.0f\t%.0f\t\n", work.name, mode, n/signed.Seconds, n/plain.Seconds,
				100*(signed.Seconds/plain.Seconds-1), signed.CPUSeconds/n*1e6, plain.CPUSeconds/n*1e6)
		}
	}
	return w.Flush()
}
