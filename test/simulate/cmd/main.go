// Command cmd simulates the whole system and checks its promises.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/modpipe/modpipe/test/simulate"
)

func main() {
	seed := flag.Uint64("seed", 1, "seed of the first world")
	steps := flag.Int("steps", 1_000_000, "number of steps")
	flag.Parse()
	began := time.Now()
	r := simulate.Run(*seed, *steps)
	if v := r.Violation; v != nil {
		fmt.Print(v.Trace)
		fmt.Printf("simulate: FAILED after %d steps: %s; reproduce with: %s\n", r.Steps, v, v.Reproduce())
		os.Exit(1)
	}
	fmt.Printf("simulate: ok: %d steps, %d worlds, seed %d, %.0f s\n", r.Steps, r.Worlds, *seed, time.Since(began).Seconds())
}
