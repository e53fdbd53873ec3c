package mask_test

import (
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/mask"
)

func TestCheckRefusesWhatCannotBeMasked(t *testing.T) {
	for _, row := range []struct {
		value string
		short bool
		want  string // of the error; "" = none
	}{
		{"12345678", false, ""},
		{"1234567", false, "secret PIN has 7 characters"},
		{"ääääääää", false, ""},
		{"äääää", false, "secret PIN has 5 characters"},
		{"4711", true, ""},
		{"1234567\n", false, "secret PIN has 7 characters"},
		{"", true, "secret PIN is empty"},
		{strings.Repeat("x", mask.MostBytes), false, ""},
		{strings.Repeat("x", mask.MostBytes+1), false, "secret PIN has 65537 bytes"},
	} {
		err := mask.Secret{Name: "PIN", Value: row.value, AllowShort: row.short}.Check()
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%.10q (short %v): %v, want %q", row.value, row.short, err, row.want)
		}
		if err != nil && row.value != "" && strings.Contains(err.Error(), row.value) {
			t.Errorf("the error contains the value: %v", err)
		}
	}
}

func TestCheckBoundsSecretsTogether(t *testing.T) {
	full := mask.Secret{Name: "A", Value: strings.Repeat("x", mask.MostBytes)}
	if err := mask.Check([]mask.Secret{full, full, full, full}); err != nil {
		t.Error(err)
	}
	if err := mask.Check([]mask.Secret{full, full, full, full, {Name: "B", Value: "12345678"}}); err == nil {
		t.Error("too many bytes are accepted")
	}
}
