package wire

import "testing"

// FuzzDecode: decoding any bytes into any type never panics.
func FuzzDecode(f *testing.F) {
	type item struct {
		Name  string            `json:"name"`
		Items []item            `json:"items"`
		Table map[string][]byte `json:"table"`
		Next  *item             `json:"next"`
		Any   any               `json:"any"`
	}
	seed, err := Encode(item{Name: "a", Items: []item{{Name: "b"}}, Table: map[string][]byte{"k": {1}}, Next: &item{}, Any: []int{1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{0xc7, 5, 1, 0xdf, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte{0x81, 0x90, 0xc3})
	f.Fuzz(func(t *testing.T, data []byte) {
		var one item
		if Decode(data, &one) == nil {
			if _, err := Encode(one); err != nil {
				t.Fatal(err)
			}
		}
		var list []item
		_ = Decode(data, &list)
		_, _ = Elements(data)
	})
}
