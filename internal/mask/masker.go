package mask

import "strings"

// Mask takes the place of a secret.
const Mask = "***"

// leastCut is how many bytes of the beginning of a secret are masked at the end of a
// text, which may have been cut there.
const leastCut = 8

// Masker knows the forms of the secrets of one attempt. It is safe for concurrent use.
// A nil Masker masks nothing.
type Masker struct {
	a     *automaton
	names []string
}

// New returns the Masker of secrets; nil when none of them is to be masked.
func New(secrets []Secret) *Masker {
	var texts []text
	m := &Masker{}
	for _, s := range secrets {
		if !s.masked() {
			continue
		}
		for _, form := range formsOf(s.Value) {
			texts = append(texts, text{form, int32(len(m.names))})
		}
		m.names = append(m.names, s.Name)
	}
	if len(texts) == 0 {
		return nil
	}
	m.a = newAutomaton(texts)
	return m
}

// Text is a complete text without secrets.
func (m *Masker) Text(s string) string {
	if m == nil || s == "" {
		return s
	}
	stream := m.Stream()
	var b strings.Builder
	b.Write(stream.Next([]byte(s)))
	b.Write(stream.Close())
	return b.String()
}

// Find returns the name of a secret that data contains, in any form.
func (m *Masker) Find(data []byte) (name string, found bool) {
	if m == nil {
		return "", false
	}
	m.a.scan(0, data, func(_ int, _, owner int32) bool {
		name, found = m.names[owner], true
		return true
	})
	return name, found
}
