package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modpipe/modpipe"
)

// Table says what is to be read.
type Table struct {
	Name  string        `json:"name"`
	Since time.Duration `json:"since"`
	Rows  int           `json:"rows"` // at most
}

// Row is a row of any table.
type Row struct {
	ID    int     `json:"id"`
	Value float64 `json:"value"`
	Valid bool    `json:"valid"`
}

// Batch is what was read of a table.
type Batch struct {
	Table string `json:"table"`
	Rows  []Row  `json:"rows"`
}

// Loaded is how many rows of each table are in the store.
type Loaded map[string]int

// errBusy is how the source says that it has too much to do.
var errBusy = errors.New("the source is busy")

func temporary(err error) bool { return errors.Is(err, errBusy) }

func list(_ context.Context, source string, since time.Duration, rows int) ([]Table, error) {
	var tables []Table
	for name := range strings.SplitSeq(source, ",") {
		if name = strings.TrimSpace(name); name != "" {
			tables = append(tables, Table{Name: name, Since: since, Rows: rows})
		}
	}
	if len(tables) == 0 {
		return nil, modpipe.Skip("there is no table to move")
	}
	return tables, nil
}

// extract reads one table. The source of this example is busy the first time
// it is asked for orders.
func extract(ctx context.Context, t Table) (Batch, error) {
	attempt := modpipe.AttemptOf(ctx)
	switch {
	case t.Name == "orders" && attempt.Number == 1:
		return Batch{}, modpipe.RetryAfter(50*time.Millisecond, fmt.Errorf("read %s: %w", t.Name, errBusy))
	case t.Name == "missing":
		return Batch{}, fmt.Errorf("the source has no table %s", t.Name)
	}
	b := Batch{Table: t.Name}
	for i := range min(t.Rows, 10*len(t.Name)) {
		b.Rows = append(b.Rows, Row{ID: i, Value: float64(i) / 2, Valid: i%7 != 0})
	}
	modpipe.Logger(ctx).Info("extracted", "table", t.Name, "rows", len(b.Rows))
	return b, nil
}

// clean leaves the rows that are valid, of all batches.
func clean(_ context.Context, batches []Batch) ([]Batch, error) {
	for i, b := range batches {
		var valid []Row
		for _, r := range b.Rows {
			if r.Valid {
				valid = append(valid, r)
			}
		}
		batches[i].Rows = valid
	}
	return batches, nil
}

// load holds the key "store", so no other module of the run writes at the same time.
func load(_ context.Context, batches []Batch) (Loaded, error) {
	loaded := Loaded{}
	for _, b := range batches {
		loaded[b.Table] = len(b.Rows)
	}
	return loaded, nil
}

func report(ctx context.Context, loaded *Loaded, outcomes []modpipe.Outcome) (string, error) {
	log := modpipe.Logger(ctx)
	for _, o := range outcomes {
		if !o.Succeeded() {
			log.Warn(o.String())
		}
	}
	if loaded == nil {
		return "nothing was loaded", nil
	}
	rows := 0
	for _, n := range *loaded {
		rows += n
	}
	text := fmt.Sprintf("%d rows of %d tables", rows, len(*loaded))
	log.Info(text)
	return text, nil
}
