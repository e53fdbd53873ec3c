package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const numbersFile = `
name: n
params:
  id: {type: number, default: 1234567890123456789}
  huge: {type: number, default: 18446744073709551615}
  price: {type: number, default: 1.10}
  tiny: {type: number, default: 0.00000010}
  exp: {type: number, default: 1e3}
  least: {type: number, default: -9223372036854775808}
  json: {default: '{"a": 9007199254740993, "b": [1.10, 2E5, 100000000000000000000]}'}
modules:
  m:
    command: [echo, "${{ %s }}"]
`

func TestNumbersAreExact(t *testing.T) {
	for _, row := range []struct{ expression, want string }{
		{"params.id", "1234567890123456789"},
		{"params.id + 1", "1234567890123456790"},
		{"params.id % 10", "9"},
		{"params.id * 10", "12345678901234567890"},
		{"params.id * 10 / 10 == params.id", "true"},
		{"params.id == 1234567890123456788", "false"},
		{"params.id > 1234567890123456788", "true"},
		{"params.id in [1234567890123456788]", "false"},
		{"params.id in [1234567890123456789]", "true"},
		{"params.huge", "18446744073709551615"},
		{"params.huge + 1", "18446744073709551616"},
		{"params.huge == 18446744073709551614.0", "false"},
		{"9223372036854775807 + 1", "9223372036854775808"},
		{"params.least", "-9223372036854775808"},
		{"-params.least", "9223372036854775808"},
		{"params.price", "1.10"},
		{"params.price == 1.1", "true"},
		{"-params.price", "-1.10"},
		{"1.10", "1.10"},
		{"0.1 + 0.2", "0.3"},
		{"0.1 + 0.2 == 0.3", "true"},
		{"params.price * 3", "3.3"},
		{"params.tiny", "0.00000010"},
		{"params.exp", "1e3"},
		{"params.exp + 1", "1001"},
		{"1000000.0 * 1000000000000000000000.0", "1000000000000000000000000000"},
		{"1 / 4", "0.25"},
		{"4 / 2", "2"},
		{"1 / 3", "0.3333333333333333"},
		{"2 ** 70", "1180591620717411303424"},
		{"2 ** -1", "0.5"},
		{"fromJSON(params.json).a", "9007199254740993"},
		{"fromJSON(params.json).a + 1", "9007199254740994"},
		{"toJSON(fromJSON(params.json))", `{"a":9007199254740993,"b":[1.10,2E5,100000000000000000000]}`},
		{"join(fromJSON(params.json).b, ' ')", "1.10 2E5 100000000000000000000"},
		{"sum(fromJSON(params.json).b)", "100000000000000200001.1"},
		{"sum(fromJSON(params.json).b, # * 2)", "200000000000000400002.2"},
		{"max(params.id, 5)", "1234567890123456789"},
		{"min(fromJSON(params.json).b)", "1.10"},
		{"max(1..3)", "3"},
		{"floor(params.price)", "1"},
		{"ceil(params.price)", "2"},
		{"round(2.5)", "3"},
		{"round(-2.5)", "-3"},
		{"floor(-1.5)", "-2"},
		{"abs(-1.5)", "1.5"},
		{"int('1234567890123456789') + 1", "1234567890123456790"},
		{"int(params.price)", "1"},
		{"string(params.id)", "1234567890123456789"},
		{"string(params.price) + 'x'", "1.10x"},
		{"toJSON(params.price)", "1.10"},
		{"contains(fromJSON('[1.10]'), 1.1)", "true"},
		{"contains(fromJSON('[9007199254740993]'), 9007199254740992)", "false"},
		{"fromJSON('[1.10, 2]') == fromJSON('[1.1, 2.0]')", "true"},
		{"toJSON(1e21)", "1e21"},
		{"1.0e21 + 0", "1000000000000000000000"},
		{"mean([1, 2])", "1.5"},
		{"sort(fromJSON('[2.5, 1.5]'))[0]", "1.5"},
		{"sortBy(fromJSON('[2.50, 1.50]'), #)[0]", "1.50"},
		{"fromJSON('[1, 2, 3]')[4 / 2]", "3"},
		{"filter(fromJSON(params.json).b, # > 1.5)[0]", "2E5"},
		{"'a' + 'b' == 'ab' && 'b' > 'a'", "true"},
		{"type(params.price)", "float"},
	} {
		f, err := Parse("t.yaml", fmt.Appendf(nil, numbersFile, strings.ReplaceAll(row.expression, `"`, `\"`)))
		if err != nil {
			t.Errorf("%s: %v", row.expression, err)
			continue
		}
		p, err := f.Bind(nil, nil)
		if err != nil {
			t.Errorf("%s: %v", row.expression, err)
			continue
		}
		if got, _ := p.Modules[0].Command.Args[1].plain(); got != row.want {
			t.Errorf("%s = %q, want %q", row.expression, got, row.want)
		}
	}
}

func TestNumbersThatCannotBeCalculatedWith(t *testing.T) {
	for _, row := range []struct{ expression, want string }{
		{"fromJSON('1e999999999') + 1", ""},
		{"2 ** 999999999", ""},
		{"sum(fromJSON('[1, true]'))", `"true" is not a number`},
		{"int('1x')", `"1x" is not a number`},
		{"1 / 0", ""},
	} {
		f, err := Parse("t.yaml", fmt.Appendf(nil, numbersFile, row.expression))
		if err == nil {
			_, err = f.Bind(nil, nil)
		}
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.expression, err, row.want)
		}
	}
}

// A run's log keeps the values of parameters as they were written.
func TestNumbersTravelExactly(t *testing.T) {
	p := travelled(t, bind(t, fmt.Sprintf(numbersFile, "params.id")))
	want := map[string]any{
		"id": 1234567890123456789, "huge": decimal("18446744073709551615"), "price": decimal("1.10"), "tiny": decimal("0.00000010"),
		"exp": decimal("1e3"), "least": -9223372036854775808, "json": p.Params["json"],
	}
	if diff := cmp.Diff(want, p.ParamValues()); diff != "" {
		t.Error(diff)
	}
}

func TestNumberSyntax(t *testing.T) {
	for text, want := range map[string]any{
		"0": 0, "-0": 0, "+5": 5, "010": 10, "1.": 1, ".5": decimal("0.5"), "+1.50": decimal("1.50"), "-.5e-3": decimal("-0.5e-3"),
		"9223372036854775808": decimal("9223372036854775808"), "00012345678901234567890": decimal("12345678901234567890"),
	} {
		if got, ok := parseNumber(text); !ok || got != want {
			t.Errorf("%q = %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", ".", "-", "e5", "1e", "0x10", "1_000", "Inf", "NaN", "1 ", "١"} {
		if got, ok := parseNumber(text); ok {
			t.Errorf("%q = %v, want no number", text, got)
		}
	}
}
