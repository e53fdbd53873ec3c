package console

// Painter colours words, or leaves them alone.
type Painter bool

// Status colours text after a status's word.
func (p Painter) Status(word, text string) string {
	code := ""
	switch word {
	case "succeeded", "cached":
		code = "32"
	case "failed", "timed_out", "dependency_failed", "lost", "unreadable":
		code = "31"
	case "cancelled", "ignored_failure", "retrying", "waiting":
		code = "33"
	case "skipped", "started", "ready":
		code = "90"
	}
	if !bool(p) || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold is for titles.
func (p Painter) Bold(text string) string { return p.sgr("1", text) }

// Faint is for text that matters less.
func (p Painter) Faint(text string) string { return p.sgr("90", text) }

func (p Painter) sgr(code, text string) string {
	if !bool(p) || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
